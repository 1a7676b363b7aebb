"""KV memory: rows of one stride in reserved address space, paid for as it is used.

Layout: for every layer keys, then values, each float32 (slots, kv_heads, context, head_size), as
GroupQueryAttention wants its shared past and present buffer. Rows of one run lie next to each
other from slot 0 on. The space is mapped private, anonymous and unreserved: the kernel gives a
page when it is first written, and takes the pages of a released slot back. Huge pages are
declined, since they would commit 2 MiB where a head's tokens need a few KiB. Where a slot is made
of whole pages, a row moves from slot to slot with its pages.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.engine.decoder import pages
from edge.errors import StartupError

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_STEP = 64
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model's KV cache: `context` is the most tokens that a row can hold."""

    layers: int
    kv_heads: int
    context: int
    head_size: int
    dtype: npt.DTypeLike = np.float32

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot's keys (or values) of one layer."""
        numbers = self.kv_heads * self.context * self.head_size
        return numbers * np.dtype(self.dtype).itemsize


def padded(tokens: int) -> int:
    """The size of a slot for rows of `tokens`: whole pages, for heads as models have them."""
    return -(-tokens // _STEP) * _STEP


class Arena:
    """The KV memory of `slots` rows."""

    def __init__(self, shape: Shape, slots: int) -> None:
        """Reserves address space; raises `StartupError` where the system refuses even that."""
        self.shape = shape
        self.slots = slots
        size_bytes = shape.layers * 2 * slots * shape.slot_bytes
        try:
            self._memory = mmap.mmap(-1, size_bytes, flags=_FLAGS)
        except (OSError, ValueError, OverflowError) as error:
            raise StartupError(
                [
                    f"memory: {size_bytes:,} bytes of address space for {slots} slots of "
                    f"{shape.context} tokens cannot be reserved ({error}); lower EDGE_SLOTS"
                ]
            ) from error
        _decline_huge_pages(self._memory)
        flat = np.frombuffer(self._memory, dtype=shape.dtype)
        self._view = flat.reshape(
            shape.layers, 2, slots, shape.kv_heads, shape.context, shape.head_size
        )
        self._start = int(self._view.ctypes.data)
        is_whole = pages.are_whole(self._start, shape.slot_bytes)
        self._moves_pages = is_whole and pages.can_move()
        self._spare: mmap.mmap | None = None  # room for a part of a slot, while two change places

    def address(self, layer: int, part: int, slot: int) -> int:
        """Where the keys (`part` 0) or values (1) of `slot` begin in `layer`."""
        place = (layer * 2 + part) * self.slots + slot
        return self._start + place * self.shape.slot_bytes

    def row(self, layer: int, part: int, slot: int) -> npt.NDArray[np.float32]:
        """Keys or values of a slot, shape (kv_heads, context, head_size); writes go through."""
        view: npt.NDArray[np.float32] = self._view[layer, part, slot]
        return view

    def move(self, source: int, target: int, tokens: int) -> None:
        """Bring the first `tokens` of slot `source` to slot `target`, and leave `source` empty."""
        if self._moves_pages:
            for layer in range(self.shape.layers):
                for part in range(2):
                    start, end = (self.address(layer, part, slot) for slot in (source, target))
                    pages.move(start, end, self.shape.slot_bytes)
        else:
            self.copy(source, target, tokens)
            self.release(source)

    def swap(self, one: int, other: int, tokens: int) -> None:
        """Exchange the first `tokens` of two slots; where pages move, all of them."""
        for layer in range(self.shape.layers):
            for part in range(2):
                if self._moves_pages:
                    self._swap_pages(*(self.address(layer, part, slot) for slot in (one, other)))
                else:
                    first, second = (self.row(layer, part, n)[:, :tokens] for n in (one, other))
                    first[:], second[:] = second.copy(), first.copy()

    def _swap_pages(self, one: int, other: int) -> None:
        if self._spare is None:
            self._spare = mmap.mmap(-1, self.shape.slot_bytes, flags=_FLAGS)
            _decline_huge_pages(self._spare)
        spare = int(np.frombuffer(self._spare, np.uint8).ctypes.data)
        for source, target in ((one, spare), (other, one), (spare, other)):
            pages.move(source, target, self.shape.slot_bytes)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` of slot `source` to slot `target`."""
        # Layer by layer: numpy sees that such parts cannot overlap, and makes no copy in between.
        for layer in range(self.shape.layers):
            for part in range(2):
                kept = self.row(layer, part, source)[:, :tokens]
                self.row(layer, part, target)[:, :tokens] = kept

    def release(self, slot: int) -> None:
        """Give the pages of `slot` back to the system; its content is lost."""
        for part in range(self.shape.layers * 2):
            start = (part * self.slots + slot) * self.shape.slot_bytes
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            last = (start + self.shape.slot_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
            if last > first:
                self._memory.madvise(mmap.MADV_DONTNEED, first, last - first)


def _decline_huge_pages(memory: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
