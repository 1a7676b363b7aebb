"""KV memory: reserved, committed by touch, given back."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from edge.engine.decoder.arena import Arena, Shape, padded
from edge.errors import StartupError

MIB = 1 << 20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


@pytest.fixture
def arena() -> Arena:
    return Arena(Shape(layers=3, kv_heads=2, context=64, head_size=16), slots=4)


def fill(arena: Arena, slot: int, tokens: int, seed: int) -> np.ndarray:
    """Random keys and values for a slot, written through its rows."""
    values = np.random.default_rng(seed).normal(size=(3, 2, 2, tokens, 16)).astype(np.float32)
    for layer in range(3):
        for part in range(2):
            arena.row(layer, part, slot)[:, :tokens] = values[layer, part]
    return values


def held(arena: Arena, slot: int, tokens: int) -> np.ndarray:
    return np.array(
        [[arena.row(layer, part, slot)[:, :tokens] for part in range(2)] for layer in range(3)]
    )


def test_slots_of_a_layer_lie_next_to_each_other(arena):
    step = arena.shape.slot_bytes
    assert step == 2 * 64 * 16 * 4
    for layer in range(3):
        for part in range(2):
            places = [arena.address(layer, part, slot) for slot in range(4)]
            assert np.diff(places).tolist() == [step] * 3


def test_a_row_is_at_the_address_that_is_told(arena):
    arena.row(2, 1, 3)[0, 0, 0] = 7
    assert arena.row(2, 1, 3).ctypes.data == arena.address(2, 1, 3)
    assert arena.row(2, 1, 3)[0, 0, 0] == 7


def test_a_move_copies_the_tokens_and_frees_the_source(arena):
    values = fill(arena, 3, 40, seed=1)
    other = fill(arena, 0, 10, seed=2)
    arena.move(3, 1, 40)
    assert np.array_equal(held(arena, 1, 40), values)
    assert np.array_equal(held(arena, 0, 10), other)


def test_a_release_touches_no_other_slot():
    shape = Shape(layers=3, kv_heads=2, context=64, head_size=13)  # slots that share pages
    arena = Arena(shape, slots=4)
    for slot in range(4):
        for layer in range(3):
            for part in range(2):
                arena.row(layer, part, slot)[:] = slot + 1
    arena.release(1)
    for slot in (0, 2, 3):
        rows = [arena.row(layer, part, slot) for layer in range(3) for part in range(2)]
        assert all((row == slot + 1).all() for row in rows)


def test_memory_follows_use():
    arena = Arena(Shape(layers=8, kv_heads=8, context=4096, head_size=64), slots=8)
    reserved = 8 * 2 * 8 * arena.shape.slot_bytes
    assert reserved == 1024 * MIB
    before = resident_bytes()
    for layer in range(8):
        for part in range(2):
            arena.row(layer, part, 5)[:, :512] = 1
    used = resident_bytes() - before
    assert 16 * MIB <= used <= 20 * MIB  # 512 tokens of 32 KiB
    arena.release(5)
    assert resident_bytes() - before <= 2 * MIB


def test_half_precision_takes_half():
    shape = Shape(layers=1, kv_heads=2, context=64, head_size=16, dtype=np.float16)
    arena = Arena(shape, slots=2)
    assert shape.slot_bytes == 2 * 64 * 16 * 2
    assert arena.row(0, 0, 1).dtype == np.float16


def test_more_than_the_address_space_is_told():
    with pytest.raises(StartupError) as caught:
        Arena(Shape(layers=1000, kv_heads=1 << 20, context=1 << 24, head_size=1024), slots=1000)
    assert "lower EDGE_SLOTS" in caught.value.problems[0]


@pytest.mark.parametrize("moves_pages", [True, False])
def test_a_move_leaves_the_source_empty(arena, moves_pages):
    arena._moves_pages = moves_pages
    values = fill(arena, 2, 40, seed=1)
    arena.move(2, 0, 40)
    assert np.array_equal(held(arena, 0, 40), values)
    assert not held(arena, 2, 40).any()


@pytest.mark.parametrize("moves_pages", [True, False])
def test_two_slots_change_places(arena, moves_pages):
    arena._moves_pages = moves_pages
    values = [fill(arena, slot, tokens, seed=slot) for slot, tokens in enumerate((40, 9, 64, 3))]
    for _ in range(3):
        arena.swap(0, 2, 64)
        assert np.array_equal(held(arena, 2, 40), values[0])
        assert np.array_equal(held(arena, 0, 64), values[2])
        assert not held(arena, 2, 64)[..., 40:, :].any()
        arena.swap(2, 0, 64)
        assert np.array_equal(held(arena, 0, 40), values[0])
        assert np.array_equal(held(arena, 2, 64), values[2])
    assert np.array_equal(held(arena, 1, 9), values[1])
    assert np.array_equal(held(arena, 3, 3), values[3])


def test_a_swap_keeps_no_memory():
    arena = Arena(Shape(layers=4, kv_heads=4, context=4096, head_size=64), slots=3)
    for slot, tokens in ((0, 1024), (2, 64)):
        for layer in range(4):
            for part in range(2):
                arena.row(layer, part, slot)[:, :tokens] = slot + 1
    before = resident_bytes()
    for _ in range(50):
        arena.swap(0, 2, 1024)
    assert resident_bytes() - before < MIB


def test_slots_of_whole_pages_move_by_pages(arena):
    assert arena._moves_pages
    assert not Arena(Shape(layers=3, kv_heads=2, context=64, head_size=13), slots=4)._moves_pages


def test_a_copy_leaves_the_source_as_it_is(arena):
    values = fill(arena, 3, 40, seed=1)
    arena.copy(3, 0, 25)
    assert np.array_equal(held(arena, 0, 25), values[:, :, :, :25])
    assert not arena.row(1, 1, 0)[:, 25:].any()
    assert np.array_equal(held(arena, 3, 40), values)


@pytest.mark.parametrize(("tokens", "slot"), [(1, 64), (64, 64), (65, 128), (4096, 4096)])
def test_slots_are_rounded_up(tokens, slot):
    assert padded(tokens) == slot
