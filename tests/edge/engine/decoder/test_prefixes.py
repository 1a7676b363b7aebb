"""The prefix cache: what is kept, found, given away and let go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engine.base import common
from edge.engine.decoder.arena import Arena, Shape
from edge.engine.decoder.prefixes import LEAST_TOKENS, Prefixes

ROWS, KEPT = 2, 3
CONTEXT = 64


def ids(*parts: tuple[int, int]) -> np.ndarray:
    """Runs of one token: `(token, count)`."""
    return np.repeat([token for token, _ in parts], [count for _, count in parts]).astype(np.int32)


class Bench:
    """An arena whose keys and values hold their tokens, so that what lies where can be read."""

    def __init__(self) -> None:
        self.arena = Arena(Shape(layers=2, kv_heads=2, context=CONTEXT, head_size=16), ROWS + KEPT)
        self.prefixes = Prefixes(self.arena, ROWS)

    def write(self, tokens: np.ndarray, slot: int = 0) -> None:
        for layer in range(2):
            for part in range(2):
                self.arena.row(layer, part, slot)[:, : len(tokens)] = tokens[:, np.newaxis]

    def read(self, slot: int, tokens: int) -> np.ndarray:
        found = self.arena.row(1, 1, slot)[:, :tokens]
        assert (found == found[0, :, :1]).all()
        return found[0, :, 0].astype(np.int32)

    def add(self, tokens: np.ndarray, *, is_pinned: bool = False) -> None:
        self.write(tokens)
        self.prefixes.add(tokens, 0, is_pinned=is_pinned)
        assert not self.read(0, len(tokens)).any()

    def kept(self) -> list[list[int]]:
        """The kept sequences, the one used last at the end; their memory says the same."""
        for prefix in self.prefixes._kept:
            assert self.read(prefix.slot, len(prefix.ids)).tolist() == prefix.ids.tolist()
        slots = [prefix.slot for prefix in self.prefixes._kept] + self.prefixes._free
        assert sorted(slots) == list(range(ROWS, ROWS + KEPT))
        return [prefix.ids.tolist() for prefix in self.prefixes._kept]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_longest_common_head_is_found(bench):
    for tokens in (ids((1, 40)), ids((1, 20), (2, 20)), ids((3, 30))):
        bench.add(tokens)
    prefix, shared = bench.prefixes.find(ids((1, 20), (2, 5), (9, 3)))
    assert prefix.ids.tolist() == [1] * 20 + [2] * 20
    assert shared == 25
    assert bench.prefixes.find(ids((7, 30))) == (None, 0)


def test_a_prefix_is_found_by_its_adapter_alone(bench):
    tokens = ids((1, 40))
    for name in ("", "pirate"):
        bench.write(tokens)
        bench.prefixes.add(tokens, 0, adapter=name)
    assert bench.kept() == [[1] * 40] * 2
    longer = ids((1, 40), (2, 2))
    for name in ("", "pirate"):
        prefix, shared = bench.prefixes.find(longer, name)
        assert (prefix.adapter, shared) == (name, 40)
    assert bench.prefixes.find(longer, "poet") == (None, 0)


def test_one_sequence_repeats_another_of_its_adapter_alone(bench):
    for tokens, name in ((ids((1, 20)), ""), (ids((1, 20)), "pirate"), (ids((1, 40)), "pirate")):
        bench.write(tokens)
        bench.prefixes.add(tokens, 0, adapter=name)
    assert [(p.adapter, len(p.ids)) for p in bench.prefixes._kept] == [("", 20), ("pirate", 40)]


def test_what_is_found_is_copied_and_stays(bench):
    bench.add(ids((1, 20), (2, 20)))
    prefix, shared = bench.prefixes.find(ids((1, 20), (3, 9)))
    bench.prefixes.give(prefix, 1, shared)
    assert bench.read(1, 20).tolist() == [1] * 20
    assert bench.kept() == [[1] * 20 + [2] * 20]


def test_what_goes_on_as_a_whole_moves(bench):
    bench.add(ids((1, 40)))
    prefix, shared = bench.prefixes.find(ids((1, 40), (2, 2)))
    bench.prefixes.give(prefix, 1, shared)
    assert bench.read(1, 40).tolist() == [1] * 40
    assert bench.kept() == []


@pytest.mark.parametrize(("shared", "kept"), [(35, 0), (34, 1)])
def test_an_end_of_an_eighth_is_given_up_for_a_move(bench, shared, kept):
    bench.add(ids((1, 40)))
    prefix, found = bench.prefixes.find(ids((1, shared), (2, 9)))
    assert found == shared
    bench.prefixes.give(prefix, 1, shared)
    assert bench.read(1, shared).tolist() == [1] * shared
    assert len(bench.kept()) == kept


def test_a_pinned_one_never_moves(bench):
    bench.add(ids((1, 40)), is_pinned=True)
    prefix, shared = bench.prefixes.find(ids((1, 40), (2, 2)))
    bench.prefixes.give(prefix, 1, shared)
    assert bench.read(1, 40).tolist() == [1] * 40
    assert bench.kept() == [[1] * 40]


def test_the_one_used_longest_ago_makes_room(bench):
    for token in (1, 2, 3):
        bench.add(ids((token, 20)))
    prefix, shared = bench.prefixes.find(ids((1, 17), (9, 9)))
    bench.prefixes.give(prefix, 1, shared)
    bench.add(ids((4, 20)))
    assert bench.kept() == [[3] * 20, [1] * 20, [4] * 20]


def test_pinned_ones_are_never_displaced(bench):
    for token in (1, 2, 3):
        bench.add(ids((token, 20)), is_pinned=True)
    bench.add(ids((4, 20)))
    assert bench.kept() == [[1] * 20, [2] * 20, [3] * 20]


def test_a_longer_one_takes_the_place_of_its_own_head(bench):
    bench.add(ids((1, 20)))
    bench.add(ids((2, 20)))
    bench.add(ids((1, 30)))
    assert bench.kept() == [[2] * 20, [1] * 30]


def test_what_is_kept_already_is_kept_once(bench):
    bench.add(ids((1, 30)))
    bench.add(ids((2, 30)))
    bench.add(ids((1, 20)), is_pinned=True)
    assert bench.kept() == [[2] * 30, [1] * 30]
    bench.prefixes.trim(30)
    assert bench.kept() == [[1] * 30]


def test_short_ones_are_not_kept(bench):
    bench.add(ids((1, LEAST_TOKENS - 1)))
    assert bench.kept() == []
    bench.add(ids((1, LEAST_TOKENS)))
    assert len(bench.prefixes) == 1


def test_memory_that_is_needed_is_given_back_the_pinned_last(bench):
    bench.add(ids((1, 20)), is_pinned=True)
    for token in (2, 3):
        bench.add(ids((token, 20)))
    bench.prefixes.trim(45)
    assert bench.kept() == [[1] * 20, [3] * 20]
    bench.prefixes.trim(20)
    assert bench.kept() == [[1] * 20]
    bench.prefixes.trim(19)
    assert bench.kept() == []
    bench.prefixes.trim(0)


def test_a_cache_of_no_size():
    arena = Arena(Shape(layers=1, kv_heads=1, context=CONTEXT, head_size=16), ROWS)
    prefixes = Prefixes(arena, ROWS)
    arena.row(0, 0, 0)[:] = 1
    prefixes.add(ids((1, 40)), 0)
    assert (len(prefixes), prefixes.tokens) == (0, 0)
    assert not arena.row(0, 0, 0).any()


SEQUENCES = st.lists(st.integers(1, 2), max_size=4).map(
    lambda tokens: ids(*((token, 15) for token in tokens))
)


@given(st.lists(st.tuples(SEQUENCES, SEQUENCES, st.booleans(), st.integers(0, 200)), max_size=20))
def test_memory_and_books_agree_whatever_comes(steps):
    bench = Bench()
    for tokens, prompt, is_pinned, most in steps:
        bench.add(tokens, is_pinned=is_pinned)
        prefix, shared = bench.prefixes.find(prompt)
        if prefix is not None:
            assert prefix.ids[:shared].tolist() == prompt[:shared].tolist()
            bench.prefixes.give(prefix, 1, shared)
            assert bench.read(1, shared).tolist() == prompt[:shared].tolist()
            bench.arena.release(1)
        bench.prefixes.trim(most)
        assert sum(map(len, bench.kept())) == bench.prefixes.tokens <= most


TOKENS = st.lists(st.integers(0, 1), max_size=12)


@given(TOKENS, TOKENS)
def test_common_counts_what_agrees_from_the_start(left, right):
    shared = common(np.array(left, np.int32), np.array(right, np.int32))
    assert left[:shared] == right[:shared]
    assert shared == min(len(left), len(right)) or left[shared] != right[shared]
