"""onnxruntime-genai's C API by ctypes: as much of it as the engine needs.

The library's own Python binding holds the interpreter during every call: seconds for a prefill
or a load, in which no health check is answered. A ctypes call releases it. Signatures follow
`ort_genai_c.h` of onnxruntime-genai 0.18; the C API is not thread-safe, so that one thread at a
time may use an object.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime_genai

_LIBRARY = Path(onnxruntime_genai.__file__).with_name("libonnxruntime-genai.so")
_OUT = POINTER(c_void_p)
# Every function here returns an OgaResult that is null on success.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "OgaCreateConfig": (c_char_p, _OUT),
    "OgaConfigOverlay": (c_void_p, c_char_p),
    "OgaCreateModelFromConfig": (c_void_p, _OUT),
    "OgaCreateGeneratorParams": (c_void_p, _OUT),
    "OgaGeneratorParamsSetSearchNumber": (c_void_p, c_char_p, c_double),
    "OgaCreateGenerator": (c_void_p, c_void_p, _OUT),
    "OgaGenerator_AppendTokens": (c_void_p, c_void_p, c_size_t),
    "OgaGenerator_GetLogits": (c_void_p, _OUT),
    "OgaTensorGetShapeRank": (c_void_p, POINTER(c_size_t)),
    "OgaTensorGetShape": (c_void_p, POINTER(c_int64), c_size_t),
    "OgaTensorGetData": (c_void_p, _OUT),
}
# These end within microseconds: giving the interpreter up, once a call, would cost more.
_SHORT = frozenset(
    (
        "OgaGenerator_GetLogits",
        "OgaTensorGetShapeRank",
        "OgaTensorGetShape",
        "OgaTensorGetData",
        "OgaDestroyTensor",
    )
)
_DESTROYED = ("Config", "Model", "GeneratorParams", "Generator", "Tensor", "Result")


class OgaError(RuntimeError):
    """A call failed; the text is the runtime's own and may hold paths."""


def _open() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_LIBRARY))
    holding = ctypes.PyDLL(str(_LIBRARY))
    for name in _SHORT:
        setattr(library, name, getattr(holding, name))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_void_p
    for name in _DESTROYED:
        destroy = getattr(library, f"OgaDestroy{name}")
        destroy.argtypes, destroy.restype = (c_void_p,), None
    library.OgaResultGetError.argtypes = (c_void_p,)
    library.OgaResultGetError.restype = c_char_p
    return library


_library = _open()


def _call(name: str, *arguments: Any) -> None:
    result = getattr(_library, name)(*arguments)
    if result:
        message = _library.OgaResultGetError(result).decode("utf-8", "replace")
        _library.OgaDestroyResult(result)
        raise OgaError(message)


def _create(name: str, *arguments: Any) -> c_void_p:
    created = c_void_p()
    _call(f"OgaCreate{name}", *arguments, byref(created))
    return created


def _owned(owner: object, destroy: Any, handle: c_void_p) -> weakref.finalize[..., object]:
    release = weakref.finalize(owner, destroy, handle)
    # At the process's exit another thread may be inside the runtime: leave it to the kernel.
    release.atexit = False
    return release


class Model:
    """A loaded model. Raises `OgaError`."""

    def __init__(self, folder: Path, overlay: str) -> None:
        """Load the model in `folder`, with the JSON `overlay` laid over its configuration."""
        config = _create("Config", str(folder).encode())
        try:
            _call("OgaConfigOverlay", config, overlay.encode())
            self.handle = _create("ModelFromConfig", config)
        finally:
            _library.OgaDestroyConfig(config)
        self._release = _owned(self, _library.OgaDestroyModel, self.handle)

    def close(self) -> None:
        """Free the model; its generators must be closed before. Idempotent."""
        self._release()


class Generator:
    """One sequence with its KV cache. Raises `OgaError`."""

    def __init__(self, model: Model, **numbers: float) -> None:
        """`numbers` are search options, e.g. `max_length`."""
        params = _create("GeneratorParams", model.handle)
        try:
            for name, value in numbers.items():
                _call("OgaGeneratorParamsSetSearchNumber", params, name.encode(), value)
            self._handle = _create("Generator", model.handle, params)
        finally:
            _library.OgaDestroyGeneratorParams(params)
        self._release = _owned(self, _library.OgaDestroyGenerator, self._handle)
        self._row: type[ctypes.Array[c_float]] | None = None

    def append_tokens(self, ids: npt.NDArray[np.int32]) -> None:
        """Run the model over `ids`, C-contiguous int32 of shape (tokens,)."""
        _call("OgaGenerator_AppendTokens", self._handle, ids.ctypes.data, len(ids))

    def logits(self) -> npt.NDArray[np.float32]:
        """The logits of the last position, a copy of shape (vocab,)."""
        tensor = c_void_p()
        _call("OgaGenerator_GetLogits", self._handle, byref(tensor))
        try:
            data = c_void_p()
            _call("OgaTensorGetData", tensor, byref(data))
            if self._row is None:  # the vocabulary does not change
                self._row = c_float * _last_dimension(tensor)
            row = self._row.from_address(data.value or 0)
            return np.frombuffer(memoryview(row), np.float32).copy()
        finally:
            _library.OgaDestroyTensor(tensor)

    def close(self) -> None:
        """Free the sequence and its KV cache. Idempotent."""
        self._release()


def _last_dimension(tensor: c_void_p) -> int:
    rank = c_size_t()
    _call("OgaTensorGetShapeRank", tensor, byref(rank))
    shape = (c_int64 * rank.value)()
    _call("OgaTensorGetShape", tensor, shape, rank)
    return int(shape[rank.value - 1])
