"""The arithmetic of weights, KV cache and a memory limit."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import cpu, memory
from edge.memory import Appetite

MIB, GIB = 1 << 20, 1 << 30
BLOCKS, BLOCK_BYTES = 1024, 64 << 10


@pytest.fixture
def limited(tmp_path):
    """A made-up cgroup tree with a memory limit."""

    def write(limit_bytes):
        path = tmp_path / "sys/fs/cgroup/memory.max"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit_bytes}\n")
        return tmp_path

    return write


def test_what_sequences_may_take():
    appetite = Appetite(slots=4, context_length=2048, kv_bytes_per_token=8192)
    assert appetite.least_bytes == 16 * 8192
    assert appetite.context_bytes == 2048 * 8192
    assert appetite.most_bytes == 4 * 2048 * 8192


@pytest.mark.parametrize(
    ("limit", "resident", "left"),
    [
        (1000 * MIB, 200 * MIB, 700 * MIB),
        (256 * MIB, 100 * MIB, (256 - 100 - 64) * MIB),
        (256 * MIB, 192 * MIB, 0),
        (256 * MIB, GIB, 0),
    ],
)
def test_what_a_limit_leaves(limited, limit, resident, left):
    assert memory.left_bytes(resident, limited(limit)) == left


def test_the_cache_is_no_larger_than_the_slots_can_use(limited):
    appetite = Appetite(slots=2, context_length=100, kv_bytes_per_token=MIB)
    assert memory.for_kv_bytes(appetite, 0, limited(GIB)) == 200 * MIB
    assert memory.for_kv_bytes(appetite, 0, limited(128 * MIB)) == 64 * MIB


@given(st.integers(0, 64 * GIB), st.integers(0, 64 * GIB))
def test_the_limit_that_is_asked_for_leaves_what_was_wanted(kv_bytes, resident_bytes):
    limit_bytes = memory.limit_for_bytes(kv_bytes, resident_bytes)
    spare = limit_bytes - memory.headroom_bytes(limit_bytes) - resident_bytes - kv_bytes
    # Never too little, and at most a rounding too much where a tenth is kept back.
    assert spare >= 0
    assert spare <= 2 or limit_bytes <= 640 * MIB


def test_what_was_freed_goes_back_to_the_kernel():
    """Blocks too small for pages of their own, below one that is still in use."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    blocks = [libc.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    top = libc.malloc(BLOCK_BYTES)
    held = cpu.resident_bytes()
    for block in blocks:
        libc.free(ctypes.c_void_p(block))
    memory.give_back()
    assert held - cpu.resident_bytes() > 0.9 * BLOCKS * BLOCK_BYTES
    libc.free(ctypes.c_void_p(top))


def test_a_c_library_that_cannot_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.give_back()
