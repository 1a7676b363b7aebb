"""The rule of choice."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from build.optimize.choice import SAME_SPEED, Bounds, Result, choose

BOUNDS = Bounds(most_loss=0.1, least_agreement=0.8)
PLAIN = Result("stock", "decoder", 100, 500.0, 50.0, 1.0, 1.0, 1.0, 12.0, 0.0, 1.0)

results = st.lists(
    st.builds(
        Result,
        variant=st.text("abc", min_size=1, max_size=3),
        engine=st.just("decoder"),
        size_bytes=st.integers(1, 5),
        prefill=st.just(1.0),
        decode=st.just(1.0),
        prefill_ratio=st.just(1.0),
        decode_ratio=st.just(1.0),
        request_ratio=st.floats(0.5, 2),
        perplexity=st.floats(1, 20),
        loss=st.floats(-0.2, 0.4),
        agreement=st.floats(0, 1),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(results)
def test_the_choice_is_within_bounds_and_nothing_good_is_much_faster(found: list[Result]) -> None:
    best = choose(found, BOUNDS)
    good = [one for one in found if BOUNDS.hold(one)]
    assert (best is None) == (not good)
    if best is not None:
        assert best in good
        fastest = max(one.request_ratio for one in good)
        assert best.request_ratio >= fastest * (1 - SAME_SPEED)


@settings(deadline=None)
@given(results)
def test_the_order_of_the_variants_does_not_matter(found: list[Result]) -> None:
    one, other = choose(found, BOUNDS), choose(found[::-1], BOUNDS)
    names = (one and (one.size_bytes, one.variant), other and (other.size_bytes, other.variant))
    assert names[0] == names[1]


def test_the_faster_one_wins_even_if_it_is_larger() -> None:
    faster = replace(PLAIN, variant="b128", request_ratio=1.2, size_bytes=200)
    assert choose([PLAIN, faster], BOUNDS) == faster


def test_of_equally_fast_ones_the_smaller_wins() -> None:
    smaller = replace(PLAIN, variant="embed", request_ratio=0.98, size_bytes=50)
    assert choose([PLAIN, smaller], BOUNDS) == smaller


def test_of_equally_large_ones_the_better_wins() -> None:
    better = replace(PLAIN, variant="kquant", perplexity=11.0)
    assert choose([PLAIN, better], BOUNDS) == better


def test_a_fast_one_that_lost_too_much_is_not_taken() -> None:
    lossy = replace(PLAIN, variant="b256", request_ratio=2.0, loss=0.11)
    odd = replace(PLAIN, variant="kv8", request_ratio=2.0, agreement=0.79)
    assert choose([PLAIN, lossy, odd], BOUNDS) == PLAIN


def test_the_bounds_themselves_are_good_enough() -> None:
    assert BOUNDS.hold(replace(PLAIN, loss=0.1, agreement=0.8))


def test_none_is_taken_where_none_is_good_enough() -> None:
    assert choose([replace(PLAIN, loss=0.2)], BOUNDS) is None
