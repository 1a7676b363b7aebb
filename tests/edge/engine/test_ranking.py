"""The largest of many numbers, against a full sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engine.ranking import heaviest, top


def sorted_places(values: np.ndarray, count: int) -> list[int]:
    return sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3000),
    st.integers(0, 400),
    st.sampled_from([1, 3, 50, 10**6]),
)
def test_the_places_are_those_of_a_full_sort(seed, size, count, kinds):
    """Few kinds of values make many ties."""
    values = np.random.default_rng(seed).integers(0, kinds, size).astype(np.float32)
    assert top(values, count).tolist() == sorted_places(values, count)


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("finite", [0, 1, 3, 39, 2000])
def test_what_is_out_of_question_is_left_out_of_many(count, finite):
    draw = np.random.default_rng(finite)
    values = np.full(5000, -np.inf, dtype=np.float32)
    values[draw.choice(5000, finite, replace=False)] = draw.normal(size=finite)
    assert top(values, count).tolist() == sorted_places(values, min(count, finite))


def test_a_vocabulary_of_a_real_size():
    values = np.random.default_rng(1).normal(size=151_936).astype(np.float32)
    for count in (1, 20, 50, 512, 4096):
        assert top(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


def test_nothing_of_nothing():
    assert top(np.array([], dtype=np.float32), 3).tolist() == []
    assert top(np.array([1.0], dtype=np.float32), 0).tolist() == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.sampled_from([0.01, 1.0, 30.0]))
def test_the_heaviest_are_the_fewest_that_are_enough(seed, size, spread):
    draw = np.random.default_rng(seed)
    weights = np.exp(-np.abs(draw.normal(0, spread, size))).astype(np.float32)
    mass = float(draw.random() * weights.sum(dtype=np.float64))
    places = heaviest(weights, mass)
    wanted = np.sort(weights)[::-1].astype(np.float64)
    fewest = int(np.searchsorted(np.cumsum(wanted), mass)) + 1
    # Sums in another order round differently: one number more or less is right.
    assert abs(len(set(places.tolist())) - fewest) <= 1
    assert weights[places].min() >= wanted[min(fewest, size - 1)]


def test_what_weighs_nothing_is_not_among_the_heaviest():
    weights = np.array([0, 1, 0, 0.5, 0, 0.25], dtype=np.float32)
    assert sorted(heaviest(weights, 1.6).tolist()) == [1, 3, 5]
    assert sorted(heaviest(weights, 1.5).tolist()) == [1, 3]
    assert 1 in heaviest(weights, 99.0).tolist()
