"""How fast this machine's memory is read and copied by some threads, through the C library."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BUFFER_BYTES = 256 << 20  # a thread's: far beyond any cache
PASSES = 3

_libc = ctypes.CDLL(None)
_libc.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_libc.memchr.restype = ctypes.c_void_p


def read(threads: int, size_bytes: int = BUFFER_BYTES) -> float:
    """Bytes a second that `threads` read together, each from memory of its own.

    `memchr` looks for a byte that is not there: it reads everything and computes next to nothing.
    """
    return _fastest(threads, size_bytes, _search)


def copy(threads: int, size_bytes: int = BUFFER_BYTES) -> float:
    """Bytes a second read and written together while `threads` copy, as STREAM counts them."""
    return 2 * _fastest(threads, size_bytes // 2, _copy)


def _fastest(threads: int, size_bytes: int, work: Callable[[int, int], None]) -> float:
    """Bytes a second of the best pass; `work` gets the address of twice `size_bytes`."""
    buffers = [np.ones(2 * size_bytes, dtype=np.uint8) for _ in range(threads)]
    addresses = [buffer.ctypes.data for buffer in buffers]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(PASSES):
            started = time.perf_counter()
            list(pool.map(lambda address: work(address, size_bytes), addresses))
            best = max(best, threads * size_bytes / (time.perf_counter() - started))
    return best


def _search(address: int, size_bytes: int) -> None:
    if _libc.memchr(address, 0, size_bytes) is not None:
        raise ValueError("the buffer holds a zero, expected ones alone")


def _copy(address: int, size_bytes: int) -> None:
    _libc.memcpy(address + size_bytes, address, size_bytes)
