"""Paired samples: what the bare loop and the server did, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


class TooFast(Exception):
    """The answers were too short to measure a rate; the text says what to ask for."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Samples of one quantity; entry `i` of both sides was measured in round `i`."""

    bare: tuple[float, ...]
    served: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.bare or len(self.bare) != len(self.served):
            raise ValueError(
                f"{len(self.bare)} bare and {len(self.served)} served samples, expected pairs"
            )

    @property
    def medians(self) -> tuple[float, float]:
        """Of the bare loop's samples and of the server's."""
        return median(self.bare), median(self.served)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Served to bare, round by round."""
        return tuple(s / b for s, b in zip(self.served, self.bare, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: a load that lasts a round cancels out."""
        return median(self.ratios)

    @property
    def added(self) -> float:
        """The median of the rounds' differences, served less bare."""
        return median(s - b for s, b in zip(self.served, self.bare, strict=True))


def rate_together(streams: Sequence[Sequence[float]]) -> float:
    """Events a second of all streams together, counted while every one of them was running.

    `streams` holds the moments of each stream's events in seconds. The window opens at the latest
    first event and closes at the earliest last one. Where short streams were never all running at
    once, it spans all events. Raises `TooFast` where all came in one moment.
    """
    opened = max(stream[0] for stream in streams)
    closed = min(stream[-1] for stream in streams)
    if closed <= opened:
        opened = min(stream[0] for stream in streams)
        closed = max(stream[-1] for stream in streams)
    if closed <= opened:
        raise TooFast("every token came in the same moment, ask for more: --new-tokens")
    events = sum(opened < moment <= closed for stream in streams for moment in stream)
    return events / (closed - opened)


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` (0 to 1) of all lie, by the nearest rank."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
