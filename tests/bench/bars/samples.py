"""Samples of one quantity on several sides, taken in turn, and ratios between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from statistics import median

from tests.bench.pairs import Pairs

SETTLE_S = 0.1  # idle threads of the runtimes spin for some 15 ms more, in the other side's way

Samples = dict[str, list[float]]
"""By the name of a side; entry `i` of every side was measured in round `i`."""

Measure = Callable[[], float]


def take(measures: Mapping[str, Measure], rounds: int) -> Samples:
    """Run every measure once a round; every other round goes backwards, so that none is first."""
    found: Samples = {name: [] for name in measures}
    for number in range(rounds):
        names = list(measures)
        for name in names if number % 2 == 0 else reversed(names):
            time.sleep(SETTLE_S)
            found[name].append(measures[name]())
    return found


def ratio(samples: Mapping[str, list[float]], above: str, below: str) -> Pairs:
    """`above` over `below`, pair by pair."""
    return Pairs(bare=tuple(samples[below]), served=tuple(samples[above]))


def greatest(samples: Mapping[str, list[float]], names: Iterable[str]) -> str:
    """The side of `names` with the greatest median: a peer's best setting for a rate."""
    return max(names, key=lambda name: median(samples[name]))


def least(samples: Mapping[str, list[float]], names: Iterable[str]) -> str:
    """The side of `names` with the least median: a peer's best setting for a time."""
    return min(names, key=lambda name: median(samples[name]))
