"""The table of ONNX Runtime's C API, by ctypes: positions, prototypes, and what a status means.

The appliance carries `libonnxruntime.so` without onnxruntime's Python module: the file that
onnxruntime-genai loads too, so that a process holds one copy. It exports one function,
`OrtGetApiBase`, which hands out a struct of function pointers that later releases only append to.
Positions follow `onnxruntime_c_api.h`, whose releases assert that they never move.

Calls hold the interpreter, since giving it up would cost more than they take; the few that may
take longer release it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import weakref
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, PYFUNCTYPE, byref, c_char_p, c_int, c_size_t, c_uint32
from ctypes import c_void_p as _pointer
from pathlib import Path
from typing import Any

_VERSION = 20  # of the table; onnxruntime 1.20 and every later one has it
_OUT = POINTER(_pointer)
_Function = Callable[..., Any]

# Name -> position and arguments; every function here returns an OrtStatus, null on success.
_CALLS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "CreateEnv": (3, (c_int, c_char_p, _OUT)),
    "DisableTelemetryEvents": (6, (_pointer,)),
    "CreateSession": (7, (_pointer, c_char_p, _pointer, _OUT)),
    "CreateSessionOptions": (10, (_OUT,)),
    "DisableMemPattern": (17, (_pointer,)),
    "SetSessionLogSeverityLevel": (22, (_pointer, c_int)),
    "SetSessionGraphOptimizationLevel": (23, (_pointer, c_int)),
    "SetIntraOpNumThreads": (24, (_pointer, c_int)),
    "SetInterOpNumThreads": (25, (_pointer, c_int)),
    "SessionGetInputCount": (30, (_pointer, POINTER(c_size_t))),
    "SessionGetOutputCount": (31, (_pointer, POINTER(c_size_t))),
    "SessionGetOverridableInitializerCount": (32, (_pointer, POINTER(c_size_t))),
    "SessionGetInputTypeInfo": (33, (_pointer, c_size_t, _OUT)),
    "SessionGetOutputTypeInfo": (34, (_pointer, c_size_t, _OUT)),
    "SessionGetOverridableInitializerTypeInfo": (35, (_pointer, c_size_t, _OUT)),
    "SessionGetInputName": (36, (_pointer, c_size_t, _pointer, _OUT)),
    "SessionGetOutputName": (37, (_pointer, c_size_t, _pointer, _OUT)),
    "SessionGetOverridableInitializerName": (38, (_pointer, c_size_t, _pointer, _OUT)),
    "CreateRunOptions": (39, (_OUT,)),
    "RunOptionsSetTerminate": (46, (_pointer,)),
    "RunOptionsUnsetTerminate": (47, (_pointer,)),
    "CreateTensorWithDataAsOrtValue": (
        49,
        (_pointer, _pointer, c_size_t, _pointer, c_size_t, c_int, _OUT),
    ),
    "CastTypeInfoToTensorInfo": (55, (_pointer, _OUT)),
    "GetTensorElementType": (60, (_pointer, POINTER(c_int))),
    "GetDimensionsCount": (61, (_pointer, POINTER(c_size_t))),
    "GetDimensions": (62, (_pointer, _pointer, c_size_t)),
    "GetSymbolicDimensions": (63, (_pointer, _pointer, c_size_t)),
    "CreateCpuMemoryInfo": (69, (c_int, c_int, _OUT)),
    "AllocatorFree": (76, (_pointer, _pointer)),
    "GetAllocatorWithDefaultOptions": (78, (_OUT,)),
    "AddSessionConfigEntry": (130, (_pointer, c_char_p, c_char_p)),
    "RunWithBinding": (133, (_pointer, _pointer, _pointer)),
    "CreateIoBinding": (134, (_pointer, _OUT)),
    "BindInput": (136, (_pointer, c_char_p, _pointer)),
    "BindOutput": (137, (_pointer, c_char_p, _pointer)),
}
_RELEASES = {
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseRunOptions": 97,
    "ReleaseTypeInfo": 98,
    "ReleaseSessionOptions": 100,
    "ReleaseIoBinding": 135,
}
_LONG = frozenset(("CreateEnv", "CreateSession", "RunWithBinding", "ReleaseSession"))


class OrtError(RuntimeError):
    """A call failed; the text is the runtime's own and may hold paths."""


def library() -> Path:
    """The installed `libonnxruntime.so`, found without importing onnxruntime.

    Raises `ImportError`.
    """
    spec = importlib.util.find_spec("onnxruntime")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [p for folder in folders for p in Path(folder).glob("capi/libonnxruntime.so.*")]
    if len(found) != 1:
        raise ImportError(
            f"onnxruntime: expected one capi/libonnxruntime.so.* in {folders}, found {found}"
        )
    return found[0]


def _open() -> dict[str, _Function]:
    base = ctypes.CDLL(str(library())).OrtGetApiBase
    base.restype = POINTER(_pointer)
    address = CFUNCTYPE(_pointer, c_uint32)(base()[0])(_VERSION)
    if not address:
        raise ImportError(f"onnxruntime: expected C API version {_VERSION} in {library()}")
    table = ctypes.cast(address, POINTER(_pointer))
    functions: dict[str, _Function] = {}
    for name, (position, arguments) in _CALLS.items():
        functions[name] = _prototype(name)(_pointer, *arguments)(table[position])
    for name, position in _RELEASES.items():
        functions[name] = _prototype(name)(None, _pointer)(table[position])
    functions["GetErrorMessage"] = PYFUNCTYPE(c_char_p, _pointer)(table[2])
    return functions


def _prototype(name: str) -> Callable[..., Any]:
    return CFUNCTYPE if name in _LONG else PYFUNCTYPE


_functions = _open()


def function(name: str) -> _Function:
    """The bare function, for those who call it often; its status goes to `check`."""
    return _functions[name]


def failure(status: int) -> OrtError:
    """The error that a status stands for; the status is freed."""
    message = _functions["GetErrorMessage"](status).decode("utf-8", "replace")
    _functions["ReleaseStatus"](status)
    return OrtError(message)


def call(name: str, *arguments: Any) -> None:
    """Call a function that returns a status. Raises `OrtError`."""
    status = _functions[name](*arguments)
    if status:
        raise failure(status)


def create(name: str, *arguments: Any) -> _pointer:
    """Call a function whose last argument is what it makes. Raises `OrtError`."""
    made = _pointer()
    call(name, *arguments, byref(made))
    return made


def owned(
    owner: object, release: str, handle: _pointer, *kept: object
) -> weakref.finalize[..., object]:
    """Free `handle` when `owner` goes, or at the first call of what is returned.

    `kept` is what must not be freed before it; it must not lead back to `owner`.
    """
    finalizer = weakref.finalize(owner, _release, _functions[release], handle, *kept)
    # At the process's exit another thread may be inside the runtime: leave it to the kernel.
    finalizer.atexit = False
    return finalizer


def _release(function: _Function, handle: _pointer, *_kept: object) -> None:
    function(handle)
