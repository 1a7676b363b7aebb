"""The table of an optimisation, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from build.optimize.choice import SAME_SPEED, Bounds, Result
from build.optimize.measure import Plan

_HEADINGS = ("variant", "size", "prefill", "decode", "request", "perplexity", "agreement")
_MEGABYTE = 1e6


@dataclass(slots=True)
class Report:
    """What was measured. `left_out` says why a variant is not among the results.

    `chosen` is the name of a variant, "" where none was within the bounds; `tokens` of the text
    were judged; `load` is the machine's load average before and after, in processes.
    """

    plan: Plan
    bounds: Bounds
    reference: str
    reference_perplexity: float
    tokens: int
    load: tuple[float, float]
    results: tuple[Result, ...] = ()
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: str = ""
    is_told: bool = False
    out: str = ""

    def as_json(self) -> str:
        """Everything as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def as_text(self) -> str:
        """A Markdown table and what belongs to it."""
        return "\n".join([*self._table(), "", *self._notes()])

    def _table(self) -> Iterator[str]:
        yield _row(_HEADINGS)
        yield _row(["---"] * len(_HEADINGS))
        for result in self.results:
            yield _row(
                [
                    f"`{result.variant}`",
                    f"{result.size_bytes / _MEGABYTE:.4g} MB",
                    f"{result.prefill:.4g} ({result.prefill_ratio:.2f}x)",
                    f"{result.decode:.4g} ({result.decode_ratio:.2f}x)",
                    f"{result.request_ratio:.2f}x",
                    f"{result.perplexity:.4g} ({result.loss:+.1%})",
                    f"{result.agreement:.1%}",
                ]
            )

    def _notes(self) -> Iterator[str]:
        plan, usual = self.plan, self.results[0].engine
        yield (
            f"prefill of {plan.prompt_tokens} tokens and decode of {plan.new_tokens} more in "
            f"tokens/s on the {usual} engine, medians of {plan.rounds} "
            f"rounds taken in turn with {self.results[0].variant}; load average "
            f"{self.load[0]:.1f} before, {self.load[1]:.1f} after"
        )
        for result in self.results:
            if result.engine != usual:
                yield f"{result.variant} runs on the {result.engine} engine"
        yield (
            f"perplexity and agreement over {self.tokens} tokens of text, against {self.reference} "
            f"(perplexity {self.reference_perplexity:.4g})"
        )
        for problems in self.left_out.values():
            yield from (f"left out: {problem}" for problem in problems)
        yield self._verdict()

    def _verdict(self) -> str:
        within = (
            f"at most {self.bounds.most_loss:.0%} more perplexity and "
            f"{self.bounds.least_agreement:.0%} agreement"
        )
        if not self.chosen:
            return f"none chosen: no variant has {within}"
        rule = f"the least on disk of the fastest ({SAME_SPEED:.0%} are the same) with {within}"
        written = f", written to {self.out}" if self.out else ""
        return f"chosen: {self.chosen}, {'as told' if self.is_told else rule}{written}"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
