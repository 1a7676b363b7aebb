"""What a graph takes and gives: names, element types and shapes, as the runtime tells them."""

from __future__ import annotations

from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass

import numpy as np

from edge.engine import ort_api

# ONNXTensorElementDataType, as far as numpy has the type.
DTYPES: dict[int, np.dtype[np.generic]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    `dtype` is None where numpy has no such type, or the port is no tensor. A dimension is a
    length, or the name of one that is free; "" where it has no name.
    """

    name: str
    dtype: np.dtype[np.generic] | None
    shape: tuple[int | str, ...]


def ports(session: c_void_p, side: str) -> tuple[Port, ...]:
    """The ports on one `side`, "Input" or "Output", of a loaded graph. Raises `OrtError`."""
    count = c_size_t()
    ort_api.call(f"SessionGet{side}Count", session, byref(count))
    return tuple(_port(session, side, index) for index in range(count.value))


def _port(session: c_void_p, side: str, index: int) -> Port:
    info = ort_api.create(f"SessionGet{side}TypeInfo", session, index)
    try:
        # Belongs to `info`; null for what is no tensor.
        tensor = ort_api.create("CastTypeInfoToTensorInfo", info)
        dtype, shape = (_dtype(tensor), _shape(tensor)) if tensor else (None, ())
    finally:
        ort_api.function("ReleaseTypeInfo")(info)
    return Port(_name(session, side, index), dtype, shape)


def _name(session: c_void_p, side: str, index: int) -> str:
    allocator = ort_api.create("GetAllocatorWithDefaultOptions")
    name = ort_api.create(f"SessionGet{side}Name", session, index, allocator)
    try:
        return (c_char_p(name.value).value or b"").decode()
    finally:
        ort_api.call("AllocatorFree", allocator, name)


def _dtype(tensor: c_void_p) -> np.dtype[np.generic] | None:
    element = c_int()
    ort_api.call("GetTensorElementType", tensor, byref(element))
    return DTYPES.get(element.value)


def _shape(tensor: c_void_p) -> tuple[int | str, ...]:
    rank = c_size_t()
    ort_api.call("GetDimensionsCount", tensor, byref(rank))
    lengths, names = (c_int64 * rank.value)(), (c_char_p * rank.value)()
    ort_api.call("GetDimensions", tensor, lengths, rank)
    ort_api.call("GetSymbolicDimensions", tensor, names, rank)
    return tuple(
        length if length >= 0 else (name or b"").decode()
        for length, name in zip(lengths, names, strict=True)
    )
