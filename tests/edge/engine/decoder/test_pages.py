"""Pages that move: contents go along, the source is left empty, nothing else is touched."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from edge.engine.decoder import pages

PAGE = mmap.PAGESIZE


@pytest.fixture
def memory() -> np.ndarray:
    """Eight pages, each filled with its number from 1 on; shape (8, bytes)."""
    space = mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    view = np.frombuffer(space, dtype=np.uint8).reshape(8, PAGE)
    view[:] = np.arange(1, 9)[:, np.newaxis]
    return view


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_this_kernel_moves_pages():
    assert pages.can_move()


def test_contents_move_and_the_source_is_empty(memory):
    start = memory.ctypes.data
    pages.move(start + 1 * PAGE, start + 5 * PAGE, 2 * PAGE)
    assert memory[:, 0].tolist() == [1, 0, 0, 4, 5, 2, 3, 8]
    assert (memory == memory[:, :1]).all()


def test_both_ends_can_be_written_afterwards(memory):
    start = memory.ctypes.data
    for _ in range(3):
        pages.move(start, start + PAGE, PAGE)
        pages.move(start + PAGE, start, PAGE)
    memory[:2] = 9
    assert memory[:, 0].tolist() == [9, 9, 3, 4, 5, 6, 7, 8]


def test_a_move_takes_no_memory():
    size = 64 << 20
    space = mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    view = np.frombuffer(space, dtype=np.uint8)
    view[:size] = 1
    before = resident_pages()
    pages.move(view.ctypes.data, view.ctypes.data + size, size)
    assert resident_pages() - before < 100
    assert view[size:].all()


def test_ranges_that_are_no_whole_pages_are_known():
    assert pages.are_whole(4 * PAGE, PAGE)
    assert not pages.are_whole(4 * PAGE + 8, PAGE)
    assert not pages.are_whole(4 * PAGE, PAGE - 8)


@pytest.mark.parametrize("size", [0, -PAGE])
def test_what_the_kernel_refuses_is_told(memory, size):
    with pytest.raises(OSError, match="mremap"):
        pages.move(memory.ctypes.data, memory.ctypes.data + PAGE, size)


def test_a_kernel_that_does_not_move_pages(memory, monkeypatch):
    monkeypatch.setattr(pages, "_remap", lambda: None)
    assert not pages.can_move()
    with pytest.raises(OSError, match="does not move"):
        pages.move(memory.ctypes.data, memory.ctypes.data + PAGE, PAGE)
    assert os.sysconf("SC_PAGE_SIZE") == PAGE
