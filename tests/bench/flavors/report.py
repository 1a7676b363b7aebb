"""What came out, as a table with the bars, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.flavors.plan import MLFLOW, PIPELINE, SIDES, Plan, Samples, ratio
from tests.bench.machine import Machine
from tests.bench.report import MIB, table

MB = 1e6


@dataclass(frozen=True, slots=True)
class Bar:
    """What pipeline has to reach of MLflow's server: at least (or at most) `bound` times it."""

    what: str
    found: float
    bound: float
    is_least: bool

    @property
    def is_met(self) -> bool:
        """Whether it is reached."""
        return self.found >= self.bound if self.is_least else self.found <= self.bound

    def __str__(self) -> str:
        side = "at least" if self.is_least else "at most"
        word = "met" if self.is_met else "missed"
        return f"{self.what}: {self.found:.2f} times, bar {side} {self.bound:g}: {word}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found; `settings` are those of the appliances.

    `versions` are those of what the ONNX flavor does not need.
    """

    description: str
    machine: Machine
    plan: Plan
    settings: dict[str, str]
    samples: dict[str, Samples]
    versions: dict[str, str]

    def bars(self) -> list[Bar]:
        """The bars of the pipeline flavor, against `mlflow models serve` of the same model."""
        ours, theirs = self.samples[PIPELINE], self.samples[MLFLOW]
        clients = self.plan.clients
        return [
            Bar("decode of 1 stream", ratio(ours.decode_one, theirs.decode_one), 1.0, True),
            Bar(f"decode of {clients}", ratio(ours.decode_all, theirs.decode_all), 3.0, True),
            Bar("peak RSS", ours.peak_bytes / theirs.peak_bytes, 1.0, False),
            Bar("start to ready", ratio(ours.start_s, theirs.start_s), 1.0, False),
        ]

    def json(self) -> dict[str, Any]:
        """All samples, the machine and the bars."""
        bars = [{**asdict(bar), "is_met": bar.is_met} for bar in self.bars()]
        return {**asdict(self), "bars": bars}

    def markdown(self) -> str:
        """The conditions, the table, the bars."""
        head = ("", *SIDES, "pipeline to mlflow")
        lines = "\n".join(f"- {bar}" for bar in self.bars())
        return f"{self.conditions()}\n\n{table(head, self.rows())}\n\n{lines}\n"

    def conditions(self) -> str:
        """What was measured where, in sentences."""
        plan, seen = self.plan, self.machine
        settings = " ".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        known = {**seen.libraries, **self.versions}
        libraries = ", ".join(f"{name} {version}" for name, version in known.items())
        return (
            f"Model: {self.description}. Greedy, nothing streamed, no answer ends early. Decode: "
            f"{plan.new_tokens} tokens less {plan.base_tokens}; prefill: one token after a prompt "
            f"of about {plan.prompt_tokens}. Appliances: `{settings}`; {libraries}. "
            f"{plan.rounds} rounds in turn, {plan.starts} starts; medians, ratios of rounds.\n\n"
            f"Machine: {seen.processor}, {seen.cores:g} cores. Other processes used "
            f"{seen.other_cores:.2f} cores during the {seen.duration_s:.0f} s of the rounds (load "
            f"average {seen.load_before:.1f} before, {seen.load_after:.1f} after)."
        )

    def rows(self) -> list[Sequence[str]]:
        """A row a quantity, a column a side."""
        found = [self.samples[name] for name in SIDES]
        rates = {
            "prefill, tokens/s": [one.prefill for one in found],
            "decode, 1 stream, tokens/s": [one.decode_one for one in found],
            f"decode, {self.plan.clients} streams, tokens/s": [one.decode_all for one in found],
        }
        return [
            ("image, MB", *(_size(one.image_bytes) for one in found), ""),
            ("peak RSS, MiB", *_mib([one.peak_bytes for one in found])),
            ("of it: the largest process, MiB", *_mib([one.largest_bytes for one in found])),
            ("start to ready, s", *_compared([one.start_s for one in found], 2)),
            *((name, *_compared(lists, 1)) for name, lists in rates.items()),
        ]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MB:.0f}" if size_bytes else "not given"


def _mib(sizes: Sequence[int]) -> list[str]:
    return [*(f"{size / MIB:.0f}" for size in sizes), f"{sizes[1] / sizes[2]:.2f}"]


def _compared(lists: Sequence[list[float]], digits: int) -> list[str]:
    ratios = [one / other for one, other in zip(lists[1], lists[2], strict=True)]
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return [*(f"{median(samples):.{digits}f}" for samples in lists), spread]
