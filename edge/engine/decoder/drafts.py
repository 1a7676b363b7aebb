"""Speculation without a second model: what followed the same words before may follow again.

Prompt lookup (Saxena 2023, "Prompt Lookup Decoding"; as a special case of Leviathan et al.,
arXiv:2211.17192): the tokens behind the latest earlier occurrence of the last few are a draft. One
run of the model gives the logits after each of them, and each is sampled as it would have been
token by token: a draft is kept for as long as it is what was sampled anyway. Nothing but the time
changes.

A run of several tokens costs more than one of a single token, so that a draft must be likely
enough. `Drafter` keeps count of how often they came true, also of those that it did not use.
"""

from __future__ import annotations

import numpy as np

from edge.engine.base import Ids

MOST_TOKENS = 7
_LEAST_MATCH, _MOST_MATCH = 2, 6
_RATE_WEIGHT = 0.1
_FIRST_RATE = 0.5
_COST_WEIGHT = 0.2
# What a further token adds to a run, in runs of one token, until it was measured.
_FIRST_COST = 0.2
# A draft has to promise this much more, for what is measured on a busy machine is rough.
_LEAST_GAIN = 1.05


class Costs:
    """How long a run of one row takes by the number of its tokens."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def note(self, tokens: int, seconds: float) -> None:
        """Learn from a run of `tokens` that took `seconds`."""
        known = self._seconds.get(tokens, seconds)
        self._seconds[tokens] = known + _COST_WEIGHT * (seconds - known)

    def of(self, tokens: int) -> float:
        """The cost of a run of `tokens`, in runs of one token."""
        one, several = self._seconds.get(1), self._seconds.get(tokens)
        if one is None or several is None:
            return 1 + _FIRST_COST * (tokens - 1)
        return several / one


class Drafter:
    """Drafts for one row."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._rate = _FIRST_RATE
        self._unused: int | None = None

    def draft(self, ids: Ids, most: int) -> Ids:
        """At most `most` tokens that may follow `ids` (int32, shape (tokens,)); often none."""
        found = lookup(ids, min(most, MOST_TOKENS))
        size = self._size(len(found))
        self._unused = int(found[0]) if len(found) and not size else None
        return found[:size]

    def note(self, kept: int, drafted: int) -> None:
        """Learn that the first `kept` of `drafted` tokens came true."""
        for place in range(min(kept + 1, drafted)):
            self._learn(place < kept)

    def note_plain(self, token: int) -> None:
        """Learn from the `token` that came where no draft was used."""
        if self._unused is not None:
            self._learn(token == self._unused)

    def _learn(self, came_true: bool) -> None:
        self._rate += _RATE_WEIGHT * (came_true - self._rate)

    def _size(self, most: int) -> int:
        """How many tokens of a draft to use: as many as give the most tokens a second."""
        best, best_gain, tokens = 0, _LEAST_GAIN, 1.0
        for size in range(1, most + 1):
            tokens += self._rate**size
            gain = tokens / self._costs.of(size + 1)
            if gain > best_gain:
                best, best_gain = size, gain
        return best


def lookup(ids: Ids, most: int) -> Ids:
    """What followed the latest of the longest matches of the end of `ids`, `most` tokens or fewer.

    A match is at least two tokens long, and as long as six where there is one.
    """
    if len(ids) <= _LEAST_MATCH or most < 1:
        return ids[:0]
    ends = np.flatnonzero(ids[:-1] == ids[-1])
    for length in range(1, _MOST_MATCH):
        ends_before = ends[ends >= length]
        longer = ends_before[ids[ends_before - length] == ids[-1 - length]]
        if not len(longer):
            break
        ends = longer
    else:
        length = _MOST_MATCH
    if length < _LEAST_MATCH or not len(ends):
        return ids[:0]
    start = int(ends[-1]) + 1
    return ids[start : start + most]
