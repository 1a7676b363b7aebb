"""Named tensors in one file, which is mapped and not copied.

The format is safetensors (github.com/huggingface/safetensors): eight bytes with the length of a
JSON header, little-endian; the header, `{"NAME": {"dtype", "shape", "data_offsets"}, ...}`, padded
with spaces to a multiple of eight; the tensors, little-endian and in C order, without gaps.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
DTYPES: dict[str, np.dtype[np.generic]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
# Brought in at once: their memory counts before the KV cache takes the rest, and no use of them
# waits for the disk.
_FLAGS = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)


def encode(tensors: Mapping[str, Array]) -> bytes:
    """The file that holds `tensors`; the same ones give the same bytes. Raises `KeyError`.

    The widest elements come first, so that each tensor begins at a multiple of its element.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        dtype = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    parts = (np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes() for _, a in ordered)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])


def read(path: Path) -> dict[str, Array]:
    """The tensors in the file `path`, mapped and in memory; read-only.

    Raises `OSError`, and `ValueError` where the file is not of this format.
    """
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + length
        if not 0 < length <= size_bytes - _LENGTH_BYTES:
            raise ValueError(f"its header has {length} bytes, the file {size_bytes}")
        header = _header(file.read(length))
        content = mmap.mmap(file.fileno(), 0, flags=_FLAGS, prot=mmap.PROT_READ)
    data = memoryview(content)[start:]
    return {name: _tensor(name, entry, data) for name, entry in header.items()}


def misfit(array: Array, dtype: np.dtype[np.generic] | None, shape: Iterable[int | str]) -> str:
    """Why `array` cannot be an input of `dtype` and `shape`, "" where it can.

    A size that is a text is free. The dtype None is one that numpy has not.
    """
    sizes = tuple(shape)
    fits = len(sizes) == array.ndim and all(
        isinstance(size, str) or size == found
        for size, found in zip(sizes, array.shape, strict=True)
    )
    if fits and array.dtype == dtype:
        return ""
    expected = ["any" if isinstance(size, str) else size for size in sizes]
    kind = dtype or "another type"
    return f"is {array.dtype} {list(array.shape)}, expected {kind} {expected}"


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    header.pop(_METADATA, None)
    return header


def _tensor(name: str, entry: Any, data: memoryview) -> Array:
    try:
        dtype, shape = DTYPES[entry["dtype"]], tuple(map(int, entry["shape"]))
        start, end = map(int, entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its tensor {name!r} is described as {entry!r:.80}") from error
    is_whole = end - start == prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not is_whole or not 0 <= start <= end <= len(data):
        raise ValueError(f"its tensor {name!r} of {list(shape)} lies at {start} to {end}")
    return np.frombuffer(data[start:end], dtype).reshape(shape)
