"""The header of a safetensors file: names, types, shapes and places of its tensors.

Format: eight bytes, the header's length as a little-endian whole number; the header, a JSON
object; then the tensors' bytes, to which `data_offsets` are relative.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from build.errors import InvalidModel

MOST_HEADER_BYTES = 100_000_000  # what the safetensors library itself reads
_LENGTH_BYTES = 8
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of an element, by the format's name of its type."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of one file: `start` and `end` are places in the file, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """How many bytes they take."""
        return self.end - self.start


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of the file `path`, by name.

    Raises `InvalidModel` where the header does not describe the bytes that are there.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or not 0 < length <= min(MOST_HEADER_BYTES, size - _LENGTH_BYTES):
            raise InvalidModel(f"{path.name} is no safetensors file, or was cut short")
        text = stream.read(length)
    try:
        header = json.loads(text)
        first = _LENGTH_BYTES + length
        named = {key: value for key, value in header.items() if key != "__metadata__"}
        found = {name: _tensor(entry, first) for name, entry in named.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidModel(f"{path.name} has a header that is no safetensors header") from error
    _check(path, found, first, size)
    return found


def _tensor(entry: Mapping[str, Any], first: int) -> Tensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(size) for size in entry["shape"])
    if min((start, end, *shape)) < 0:
        raise ValueError("a size below 0")
    return Tensor(str(entry["dtype"]), shape, first + start, first + end)


def _check(path: Path, tensors: Mapping[str, Tensor], first: int, size: int) -> None:
    """Every tensor has the bytes that its type and shape need, and the file holds just these."""
    for name, tensor in tensors.items():
        wide = SIZES.get(tensor.dtype)
        if wide is None:
            raise InvalidModel(f"{path.name}: {name} is of the type {tensor.dtype}, not supported")
        if tensor.size_bytes != tensor.elements * wide:
            raise InvalidModel(
                f"{path.name}: {name} has {tensor.size_bytes} bytes, its type and shape need "
                f"{tensor.elements * wide}"
            )
    end = max((tensor.end for tensor in tensors.values()), default=first)
    used = sum(tensor.size_bytes for tensor in tensors.values())
    if end > size:
        raise InvalidModel(
            f"{path.name} was cut short: it has {size:,} bytes, its tensors need {end:,}"
        )
    if used > size - first:
        raise InvalidModel(f"{path.name} has tensors that share bytes")
    if used < size - first:
        raise InvalidModel(
            f"{path.name} has {size - first - used:,} bytes that belong to no tensor"
        )
