"""How much memory there is for the KV cache, and what a request must have of it."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from pathlib import Path

from edge import cpu

# With less than this no useful request would be let in.
LEAST_KV_TOKENS = 16
# What requests need besides KV cache: buffers of the runtime, HTTP threads, Python.
_HEADROOM = 0.1
_HEADROOM_LEAST_BYTES = 64 << 20
_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Appetite:
    """What a model's sequences may take: `slots` of them at once, `context_length` tokens each."""

    slots: int
    context_length: int
    kv_bytes_per_token: int

    @property
    def least_bytes(self) -> int:
        """KV cache with less of which nothing would be served."""
        return LEAST_KV_TOKENS * self.kv_bytes_per_token

    @property
    def context_bytes(self) -> int:
        """KV cache of one sequence that fills the context."""
        return self.context_length * self.kv_bytes_per_token

    @property
    def most_bytes(self) -> int:
        """KV cache of as many such sequences as there are slots."""
        return self.slots * self.context_bytes


def left_bytes(resident_bytes: int, root: Path = _ROOT) -> int:
    """What the memory limit leaves beside `resident_bytes` and the headroom of requests."""
    limit_bytes = cpu.memory_limit_bytes(root)
    return max(0, limit_bytes - resident_bytes - headroom_bytes(limit_bytes))


def headroom_bytes(limit_bytes: int) -> int:
    """What of a memory limit is kept back for everything but weights and KV cache."""
    return max(_HEADROOM_LEAST_BYTES, int(limit_bytes * _HEADROOM))


def limit_for_bytes(kv_bytes: int, resident_bytes: int) -> int:
    """The memory limit that leaves `kv_bytes`: the inverse of `left_bytes`."""
    needed_bytes = kv_bytes + resident_bytes
    return max(needed_bytes + _HEADROOM_LEAST_BYTES, math.ceil(needed_bytes / (1 - _HEADROOM)))


def give_back() -> None:
    """Return to the kernel what was freed and the C library keeps (malloc_trim(3), of glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def for_kv_bytes(appetite: Appetite, resident_bytes: int, root: Path = _ROOT) -> int:
    """What is left for the KV cache, and no more than the slots could ever use."""
    return min(appetite.most_bytes, left_bytes(resident_bytes, root))
