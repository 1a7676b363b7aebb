"""The result of the bars, as Markdown tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.bars.plan import Plan
from tests.bench.bars.row import Outcome
from tests.bench.machine import Machine
from tests.bench.report import Table, table

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Measured:
    """What one bar found, and the machine while it was measured."""

    outcome: Outcome
    machine: Machine


@dataclass(frozen=True, slots=True)
class Report:
    """All bars of a run by name; `model` and `peer` describe what was measured."""

    model: str
    peer: str
    plan: Plan
    bars: Mapping[str, Measured]

    def json(self) -> dict[str, Any]:
        """Rows, all samples, the machine for each bar."""
        return asdict(self)

    def markdown(self) -> str:
        """The conditions, the bars, the medians behind them."""
        parts = [conditions(self), table(*bars(self)), table(*figures(self))]
        return "\n\n".join(parts) + "\n"


def conditions(report: Report) -> str:
    """What was measured where, in sentences."""
    plan = report.plan
    machine = next(iter(report.bars.values())).machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    settings = " ".join(f"{name}={value}" for name, value in sorted(plan.environment.items()))
    noise = ", ".join(
        f"{name} {measured.machine.other_cores:.2f}" for name, measured in report.bars.items()
    )
    peer = f" Peer: {report.peer}." if report.peer else ""
    return (
        f"Model: {report.model}. {libraries}. All sides: {plan.threads} threads, greedy. "
        f"Appliance: `{settings}`, other settings at their defaults.{peer}\n\n"
        f"Machine: {machine.processor}, {machine.cores:g} cores, "
        f"{machine.memory_bytes / GIB:.0f} GiB. Other processes used, in cores: {noise}.\n\n"
        f"{plan.rounds} rounds, all sides by turns; medians of the ratios within a round, with "
        f"the least and the greatest in brackets. Of llama.cpp, the setting that is best for "
        f"the quantity."
    )


def bars(report: Report) -> Table:
    """Measure, found, bar, verdict."""
    rows: list[Sequence[str]] = [
        (row.measure, row.found, row.bar, row.verdict)
        for measured in report.bars.values()
        for row in measured.outcome.rows
    ]
    return ("measure", "found", "bar", "verdict"), rows


def figures(report: Report) -> Table:
    """The median of every side, with the least and the greatest sample."""
    rows: list[Sequence[str]] = [
        (quantity, side, *(f"{take(values):.4g}" for take in (median, min, max)))
        for measured in report.bars.values()
        for quantity, samples in measured.outcome.samples.items()
        for side, values in samples.items()
    ]
    return ("quantity", "side", "median", "least", "greatest"), rows
