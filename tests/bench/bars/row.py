"""A line of the table of bars: what was measured, what was found, the bar, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from tests.bench.bars.samples import Samples
from tests.bench.pairs import Pairs

MET, MISSED, UNMEASURED = "met", "missed", "not measured"


@dataclass(frozen=True, slots=True)
class Row:
    """`bar` is empty for a figure that stands there for comparison alone."""

    measure: str
    found: str
    bar: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bar found: its rows, and all samples by quantity (`decode at 32, tokens/s`)."""

    rows: list[Row]
    samples: dict[str, Samples] = field(default_factory=dict)


def at_least(measure: str, pairs: Pairs, bar: float | None, unit: str = "") -> Row:
    """A row that holds where the median ratio of `pairs` is `bar` or more.

    `unit` adds both medians. Without a `bar` the row judges nothing.
    """
    found = spread(pairs.ratios, unit and f"{_medians(pairs)} {unit}")
    if bar is None:
        return Row(measure, found, "", "")
    return Row(measure, found, f">= {bar:g}x", _verdict(pairs.ratio >= bar))


def at_most(measure: str, pairs: Pairs, bar: float, unit: str = "") -> Row:
    """A row that holds where the median ratio of `pairs` is `bar` or less."""
    found = spread(pairs.ratios, unit and f"{_medians(pairs)} {unit}")
    return Row(measure, found, f"<= {bar:g}x", _verdict(pairs.ratio <= bar))


def share(measure: str, found: float, bar: float, more: str = "") -> Row:
    """A row that holds where the share `found` (0 to 1) is `bar` or less."""
    text = f"{found:.1%}" + (f"; {more}" if more else "")
    return Row(measure, text, f"<= {bar:.0%}", _verdict(found <= bar))


def size(measure: str, found_bytes: float, most_bytes: float, bar: str) -> Row:
    """A row that holds where `found_bytes` is `most_bytes` or less; `bar` says what that is."""
    text = f"{found_bytes / 1e6:,.0f} MB"
    limit = f"<= {most_bytes / 1e6:,.0f} MB: {bar}"
    return Row(measure, text, limit, _verdict(found_bytes <= most_bytes))


def unmeasured(measure: str, bar: str, why: str) -> Row:
    """A row for what cannot be measured here, and why."""
    return Row(measure, why, bar, UNMEASURED)


def spread(ratios: tuple[float, ...], more: str = "") -> str:
    """Median ratio, least and greatest."""
    text = f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{text}; {more}" if more else text


def medians(samples: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of every side."""
    return {name: median(values) for name, values in samples.items()}


def _medians(pairs: Pairs) -> str:
    below, above = pairs.medians
    return f"{above:.4g} against {below:.4g}"


def _verdict(is_met: bool) -> str:
    return MET if is_met else MISSED
