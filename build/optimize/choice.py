"""Which variant is taken: the rule, and what it needs to know of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SAME_SPEED = 0.03
"""Requests whose times differ by less than this share count as equally fast: it is the noise."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured variant.

    Speeds are medians in tokens a second; `*_ratio` are medians of the rounds, this variant to
    the first one, above 1 where this one is faster. `request_ratio` is of the time that a whole
    request takes. `loss` is how much higher its perplexity is than the reference's, as a share
    (0.02: 2 % higher); `agreement` is the share of positions where both choose the same token.
    """

    variant: str
    engine: str
    size_bytes: int
    prefill: float
    decode: float
    prefill_ratio: float
    decode_ratio: float
    request_ratio: float
    perplexity: float
    loss: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a variant may lose: `most_loss` of perplexity, as a share, and `least_agreement`."""

    most_loss: float
    least_agreement: float

    def hold(self, result: Result) -> bool:
        """Whether `result` loses no more."""
        return result.loss <= self.most_loss and result.agreement >= self.least_agreement


def choose(results: Sequence[Result], bounds: Bounds) -> Result | None:
    """The fastest variant within `bounds`, None where none is.

    Fastest is the least time for a request. Of those that are as fast but for the noise, the one
    that takes least on disk is taken, then the one with the lower perplexity.
    """
    good = [result for result in results if bounds.hold(result)]
    if not good:
        return None
    fastest = max(result.request_ratio for result in good)
    near = [result for result in good if result.request_ratio >= fastest * (1 - SAME_SPEED)]
    return min(near, key=lambda result: (result.size_bytes, result.perplexity, result.variant))
