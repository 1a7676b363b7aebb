"""The operators of an ONNX graph, read without loading it.

A walk over protocol buffers' wire format (varints and length-delimited fields): ModelProto.graph
is field 7, GraphProto.node field 1, NodeProto.op_type field 4, its domain field 7 (onnx.proto).
Weights lie in a file of their own; those inside are stepped over.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_GRAPH, _NODE, _OP_TYPE = 7, 1, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
Span = tuple[int, int]


def count(model: Path) -> Counter[str]:
    """How often each operator stands in the top-level graph. Raises `ValueError`, `OSError`."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return Counter(_operators(data))


def _operators(data: mmap.mmap) -> Iterator[str]:
    for start, end in _fields(data, (0, len(data)), _GRAPH):
        for node in _fields(data, (start, end), _NODE):
            for first, last in _fields(data, node, _OP_TYPE):
                yield data[first:last].decode()


def _fields(data: mmap.mmap, span: Span, wanted: int) -> Iterator[Span]:
    """Where the length-delimited fields of the number `wanted` lie in the message at `span`."""
    position, end = span
    while position < end:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _BYTES:
            size, position = _varint(data, position)
            if position + size > end:
                raise ValueError("the graph is cut short")
            if number == wanted:
                yield position, position + size
            position += size
        elif kind == _VARINT:
            _, position = _varint(data, position)
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise ValueError(f"the graph is no protocol buffer: wire type {kind}")


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("the graph is no protocol buffer")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
