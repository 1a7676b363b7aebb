"""ONNX Runtime as far as a decoder needs it: a session, tensors over own memory, bound runs.

Loading and running release the interpreter. A session may run on several threads at once; a
binding and its tensors belong to one thread at a time. `RunOptions.terminate` may be called from
any thread.
"""

from __future__ import annotations

import functools
import os
import struct
import weakref
from collections.abc import Callable, Sequence
from ctypes import byref, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.engine import ort_api
from edge.engine import spin as spinning
from edge.engine.ort_api import OrtError
from edge.engine.ort_port import DTYPES, Port, ports

__all__ = ["Binding", "OrtError", "Port", "RunOptions", "Session", "Tensor", "Terminated"]

_WARNING, _FATAL = 2, 4  # OrtLoggingLevel
_ALL_OPTIMIZATIONS = 99  # GraphOptimizationLevel
_DEVICE_ALLOCATOR, _DEFAULT_MEMORY = 0, 0  # OrtAllocatorType, OrtMemType
_ELEMENTS = {dtype: element for element, dtype in DTYPES.items()}

_create_tensor = ort_api.function("CreateTensorWithDataAsOrtValue")
_release_tensor = ort_api.function("ReleaseValue")
_bind_input = ort_api.function("BindInput")
_bind_output = ort_api.function("BindOutput")
_run = ort_api.function("RunWithBinding")


class Terminated(OrtError):
    """The run was ended by `RunOptions.terminate`; what it should have written is undefined."""


class Session:
    """A loaded graph. Raises `OrtError`."""

    def __init__(self, model: Path, *, threads: int, spin: bool) -> None:
        """Load `model`, with `threads` threads inside an operator.

        `spin` lets idle ones wait awake for a moment. `optional` are inputs that have a default
        in the graph.
        """
        options = ort_api.create("CreateSessionOptions")
        try:
            _configure(options, threads, spin)
            self.handle = ort_api.create(
                "CreateSession", _environment(), os.fsencode(model), options
            )
        finally:
            ort_api.function("ReleaseSessionOptions")(options)
        self._release = ort_api.owned(self, "ReleaseSession", self.handle)
        self.threads, self.spin = threads, spin
        self._bindings: weakref.WeakSet[Binding] = weakref.WeakSet()
        self.inputs = ports(self.handle, "Input")
        self.optional = ports(self.handle, "OverridableInitializer")
        self.outputs = ports(self.handle, "Output")

    def add(self, binding: Binding) -> None:
        """Close `binding` with the session."""
        self._check_open()
        self._bindings.add(binding)

    def run(self, binding: Binding, options: RunOptions) -> None:
        """Run the graph over what is bound. Raises `Terminated` where `options` ended the run."""
        self._check_open()
        if binding.session is not self:
            raise OrtError("binding: expected one of this session, got another's")
        status = _run(self.handle, options.handle, binding.handle)
        if status:
            error = ort_api.failure(status)
            raise Terminated(str(error)) if options.is_terminated else error

    def close(self) -> None:
        """Free the graph and its bindings; no run may be under way. Idempotent."""
        for binding in list(self._bindings):
            binding.close()
        self._release()

    def _check_open(self) -> None:
        if not self._release.alive:
            raise OrtError("session: expected an open one, got one that is closed")


class Tensor:
    """A view of memory that somebody else owns."""

    __slots__ = ("_array", "handle")

    def __init__(
        self, address: int, size_bytes: int, shape: Sequence[int], dtype: np.dtype[np.generic]
    ) -> None:
        """`shape` in C order over the first of `size_bytes` bytes at `address`.

        Raises `OrtError` where the bytes do not suffice, `ValueError` for a dtype that the
        runtime has not.
        """
        self.handle = c_void_p()
        self._array: npt.NDArray[np.generic] | None = None
        rank = len(shape)
        lengths = _packer(rank)(*shape)
        element = _ELEMENTS.get(dtype)
        if element is None:
            raise ValueError(f"dtype: expected one of {list(map(str, _ELEMENTS))}, got {dtype}")
        status = _create_tensor(
            _memory(), address, size_bytes, lengths, rank, element, byref(self.handle)
        )
        if status:
            raise ort_api.failure(status)

    @classmethod
    def over(cls, array: npt.NDArray[np.generic]) -> Tensor:
        """A view of `array`, which lives as long as the view. Raises `ValueError`."""
        if not array.flags.c_contiguous:
            raise ValueError(
                f"array: expected a C-contiguous one, got strides {array.strides} "
                f"for shape {array.shape}"
            )
        tensor = cls(array.ctypes.data, array.nbytes, array.shape, array.dtype)
        tensor._array = array
        return tensor

    def __del__(self) -> None:
        # A finalizer would double the cost of a tensor, and there is one a layer and run.
        _release_tensor(self.handle)


@dataclass(slots=True)
class _Place:
    name: bytes
    tensor: Tensor | None = None


class Binding:
    """Which tensors a run reads and writes. Keeps them alive. Raises `OrtError`."""

    def __init__(self, session: Session) -> None:
        """An empty binding for runs of `session`."""
        session.add(self)
        self.session = session
        self.handle = ort_api.create("CreateIoBinding", session.handle)
        self._release = ort_api.owned(self, "ReleaseIoBinding", self.handle, session)
        taken = (*session.inputs, *session.optional)
        self._inputs = {port.name: _Place(port.name.encode()) for port in taken}
        self._outputs = {port.name: _Place(port.name.encode()) for port in session.outputs}

    def input(self, name: str, tensor: Tensor) -> None:
        """Read the input `name` from `tensor`, in place of what was bound before."""
        self._bind(_bind_input, self._inputs, name, tensor)

    def output(self, name: str, tensor: Tensor) -> None:
        """Write the output `name` into `tensor`, in place of what was bound before."""
        self._bind(_bind_output, self._outputs, name, tensor)

    def close(self) -> None:
        """Let go of the tensors; nothing can be bound any more. Idempotent."""
        self._release()
        self._inputs.clear()
        self._outputs.clear()

    def _bind(
        self, bind: Callable[..., Any], places: dict[str, _Place], name: str, tensor: Tensor
    ) -> None:
        place = places.get(name)
        # The runtime's own refusal of an unknown name leaves a binding that cannot be used.
        if place is None:
            raise OrtError(f"binding: expected one of {sorted(places)}, got {name!r}")
        status = bind(self.handle, place.name, tensor.handle)
        if status:
            raise ort_api.failure(status)
        place.tensor = tensor


class RunOptions:
    """The handle on a run by which another thread can end it."""

    def __init__(self) -> None:
        self.handle = ort_api.create("CreateRunOptions")
        self._release = ort_api.owned(self, "ReleaseRunOptions", self.handle)
        self.is_terminated = False

    def terminate(self) -> None:
        """End the run that is under way, and every later one until `reset`, with `Terminated`."""
        self.is_terminated = True
        ort_api.call("RunOptionsSetTerminate", self.handle)

    def reset(self) -> None:
        """Let runs run again."""
        ort_api.call("RunOptionsUnsetTerminate", self.handle)
        self.is_terminated = False


@functools.cache
def _packer(rank: int) -> Callable[..., bytes]:
    return struct.Struct(f"{rank}q").pack


@functools.cache
def _environment() -> c_void_p:
    # One a process and never freed: onnxruntime-genai shares it.
    environment = ort_api.create("CreateEnv", _WARNING, b"phial")
    ort_api.call("DisableTelemetryEvents", environment)
    return environment


@functools.cache
def _memory() -> c_void_p:
    return ort_api.create("CreateCpuMemoryInfo", _DEVICE_ALLOCATOR, _DEFAULT_MEMORY)


def _configure(options: c_void_p, threads: int, spin: bool) -> None:
    # What fails is raised; the runtime would print it as well.
    ort_api.call("SetSessionLogSeverityLevel", options, _FATAL)
    ort_api.call("SetSessionGraphOptimizationLevel", options, _ALL_OPTIMIZATIONS)
    # A pattern would be kept for every combination of shapes, and each token makes a new one.
    ort_api.call("DisableMemPattern", options)
    ort_api.call("SetIntraOpNumThreads", options, threads)
    ort_api.call("SetInterOpNumThreads", options, 1)
    entries = {**spinning.entries(spin), "session.use_device_allocator_for_initializers": "1"}
    for key, value in entries.items():
        ort_api.call("AddSessionConfigEntry", options, key.encode(), value.encode())
