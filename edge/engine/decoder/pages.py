"""Moves memory from one address to another by its page tables, without a copy.

`mremap` (Linux) with `MREMAP_DONTUNMAP` (since 5.7, private anonymous memory only) gives the
pages of one range to another, and leaves the first mapped and empty: a gigabyte moves in a few
milliseconds, and neither range faults its pages in again.
"""

from __future__ import annotations

import ctypes
import functools
import mmap

_MAY_MOVE, _FIXED, _DONT_UNMAP = 1, 2, 4
_FLAGS = _MAY_MOVE | _FIXED | _DONT_UNMAP


def can_move() -> bool:
    """Whether this kernel moves pages; tried once on two pages of our own."""
    return _remap() is not None


def are_whole(address: int, size_bytes: int) -> bool:
    """Whether a range begins and ends where pages do."""
    return address % mmap.PAGESIZE == 0 and size_bytes % mmap.PAGESIZE == 0


def move(source: int, target: int, size_bytes: int) -> None:
    """Give the pages at `source` to `target`; what lay there is lost, `source` reads as zeros.

    Both ranges are whole pages of private anonymous mappings and do not overlap. Raises `OSError`.
    """
    remap = _remap()
    if remap is None:
        raise OSError("this kernel does not move pages")
    _move(remap, source, target, size_bytes)


def _move(remap: ctypes._NamedFuncPointer, source: int, target: int, size_bytes: int) -> None:
    if remap(source, size_bytes, size_bytes, _FLAGS, target) != target:
        raise OSError(ctypes.get_errno(), "mremap failed")


@functools.cache
def _remap() -> ctypes._NamedFuncPointer | None:
    try:
        remap = ctypes.CDLL(None, use_errno=True).mremap
    except (AttributeError, OSError):
        return None
    remap.restype = ctypes.c_void_p
    remap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_void_p,
    )
    trial = mmap.mmap(-1, 2 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(view := ctypes.c_char.from_buffer(trial))
    trial[0] = 1
    try:
        _move(remap, start, start + mmap.PAGESIZE, mmap.PAGESIZE)
    except OSError:
        return None
    has_moved = (trial[0], trial[mmap.PAGESIZE]) == (0, 1)
    del view
    trial.close()
    return remap if has_moved else None
