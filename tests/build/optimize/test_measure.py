"""Laps in pairs."""

from __future__ import annotations

import pytest

from build.optimize import measure
from build.optimize.measure import Lap, Pairs, Plan


class Recorder:
    """Notes its laps in a common log; its speed is made up, its order is not."""

    vocab_size = 1000

    def __init__(self, name, log, seconds):
        self.name, self.log, self.seconds = name, log, seconds

    def speed(self, ids, new_tokens):
        self.log.append((self.name, tuple(ids), new_tokens))
        return self.seconds * len(ids), self.seconds * new_tokens


@pytest.fixture
def log():
    return []


def test_both_take_turns_on_the_same_prompts_and_change_who_begins(log):
    plan = Plan(rounds=4, prompt_tokens=6, new_tokens=3)
    found = measure.pairs(Recorder("a", log, 2), Recorder("b", log, 1), plan)
    names = [name for name, _, _ in log]
    assert names == ["a", "b", "a", "b", "b", "a", "a", "b", "b", "a"]  # a warm-up first
    for one, other in zip(log[::2], log[1::2], strict=True):
        assert one[1:] == other[1:]
        assert (len(one[1]), one[2]) == (6, 3)
    assert len({ids for _, ids, _ in log}) == plan.rounds + 1
    assert len({ids[0] for _, ids, _ in log}) > 1
    assert len(found.first) == len(found.second) == plan.rounds
    assert found.ratio(lambda lap: lap.prefill_s) == 2


def test_a_ratio_is_the_median_of_the_rounds_not_of_the_sides():
    slow_round = Lap(10, 10)
    pairs = Pairs((Lap(1, 4), slow_round, Lap(1, 4)), (Lap(2, 2), Lap(20, 5), Lap(2, 2)))
    assert pairs.ratio(lambda lap: lap.prefill_s) == 0.5
    assert pairs.ratio(lambda lap: lap.decode_s) == 2
    assert pairs.ratio(lambda lap: lap.request_s) == 1.25


def test_an_uneven_number_of_laps_is_no_pair():
    with pytest.raises(ValueError, match="zip"):
        Pairs((Lap(1, 1), Lap(1, 1)), (Lap(1, 1),)).ratio(lambda lap: lap.decode_s)


@pytest.mark.parametrize(
    ("context", "prompt", "new"), [(4096, 512, 64), (512, 256, 64), (100, 50, 49), (4, 2, 1)]
)
def test_a_plan_fits_the_context(context, prompt, new):
    assert measure.fitted(Plan(), context) == Plan(5, prompt, new)
