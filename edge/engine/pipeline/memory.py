"""KV memory of one row: address space for the most that it can use, paid for as it is used.

Each layer has keys and values of shape (kv_heads, capacity, head_size). On a CPU the space is an
anonymous mapping: the kernel gives a page when it is first written and takes all of them back
when the row is closed. Huge pages are declined, since they would commit 2 MiB where a head's
tokens need a few KiB.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import torch

_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes of a layer's keys and values; some models have values of another size."""

    kv_heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class KvShape:
    """The layers that keep keys and values, by their number in the model."""

    layers: dict[int, LayerShape]
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in all layers."""
        numbers = sum(
            layer.kv_heads * (layer.key_size + layer.value_size) for layer in self.layers.values()
        )
        return numbers * int(self.dtype.itemsize)


class RowMemory:
    """Keys and values of one row, by layer; each a view of shape (kv_heads, capacity, size)."""

    def __init__(self, shape: KvShape, capacity: int) -> None:
        """Room for `capacity` tokens; raises `OSError` or `RuntimeError` where there is none."""
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}
        flat = _flat(shape, capacity)
        start = 0
        for number, layer in shape.layers.items():
            for views, size in ((self.keys, layer.key_size), (self.values, layer.value_size)):
                end = start + layer.kv_heads * capacity * size
                views[number] = flat[start:end].view(layer.kv_heads, capacity, size)
                start = end


def _flat(shape: KvShape, capacity: int) -> torch.Tensor:
    size_bytes = capacity * shape.token_bytes
    numbers = size_bytes // int(shape.dtype.itemsize)
    if shape.device.type != "cpu":
        return torch.empty(numbers, dtype=shape.dtype, device=shape.device)
    memory = mmap.mmap(-1, max(1, size_bytes), flags=_FLAGS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=shape.dtype, count=numbers)
