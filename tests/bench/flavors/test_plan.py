"""Turns, rates and ratios."""

from __future__ import annotations

import pytest

from tests.bench.flavors.plan import SIDES, Plan, rate, ratio, turns


def test_every_side_begins_in_turn():
    orders = [turns(number) for number in range(4)]
    assert [order[0] for order in orders] == [*SIDES, SIDES[0]]
    assert all(sorted(order) == sorted(SIDES) for order in orders)


def test_a_rate_is_of_what_the_longer_one_did_beyond_the_shorter():
    assert rate(120, longer_s=3.5, shorter_s=0.5) == 40


@pytest.mark.parametrize("longer_s", [0.5, 0.4])
def test_nothing_can_be_told_where_more_tokens_took_no_longer(longer_s):
    with pytest.raises(ValueError, match="120 tokens more took"):
        rate(120, longer_s, 0.5)


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    assert ratio([10.0, 100.0, 20.0], [5.0, 50.0, 20.0]) == 2.0
    with pytest.raises(ValueError, match="longer"):
        ratio([1.0], [1.0, 2.0])


def test_the_context_holds_the_longest_request():
    assert Plan(prompt_tokens=512).context_tokens > 512
    assert Plan(prompt_tokens=8, new_tokens=400).context_tokens > 32 + 400
