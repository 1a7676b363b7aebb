"""The result of a run, as Markdown tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.footprint import Footprint
from tests.bench.machine import Machine
from tests.bench.pairs import Pairs
from tests.bench.processes import Memory
from tests.bench.subject import Subject
from tests.bench.workload import Both, Plan, Samples

MIB = 1 << 20
BAR = 0.95


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found; `settings` are the appliance's that differ from defaults."""

    subject: Subject
    machine: Machine
    plan: Plan
    threads: int
    settings: dict[str, str]
    is_endless: bool
    samples: Samples
    footprint: Footprint

    @property
    def decode_share(self) -> float | None:
        """Single-stream decode through the server, as a share of the bare loop's."""
        load = self.samples.loads.get(1)
        return None if load is None else pairs(load.decode).ratio

    def json(self) -> dict[str, Any]:
        """All samples and the machine."""
        whole = asdict(self)
        whole["subject"]["bundle"] = self.subject.bundle.name
        return {**whole, "decode_share": self.decode_share}

    def markdown(self) -> str:
        """The conditions, then the tables."""
        parts = [conditions(self), table(*speed(self)), table(*latency(self)), table(*costs(self))]
        return "\n\n".join(parts) + "\n"


def pairs(both: Both) -> Pairs:
    """Samples as pairs."""
    return Pairs(tuple(both.bare), tuple(both.served))


Table = tuple[Sequence[str], list[Sequence[str]]]


def conditions(report: Report) -> str:
    """What was measured where, in sentences."""
    machine, plan = report.machine, report.plan
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    settings = " ".join(f"{name}={value}" for name, value in sorted(report.settings.items()))
    endless = " Tokens that end an answer were suppressed on both sides." * report.is_endless
    return (
        f"Model: {report.subject.description}. "
        f"Both sides: {report.threads} threads, greedy; {libraries}. Appliance: `{settings}`, "
        f"other settings at their defaults.{endless}\n\n"
        f"Machine: {machine.processor}, {machine.cores:g} cores, "
        f"{machine.memory_bytes / MIB / 1024:.0f} GiB. Other processes used "
        f"{machine.other_cores:.2f} cores on average during the {machine.duration_s:.0f} s of the "
        f"run (load average {machine.load_before:.1f} before, {machine.load_after:.1f} after).\n\n"
        f"{plan.rounds} rounds, bare loop and server by turns; medians, ratios of pairs with the "
        f"least and the greatest in brackets."
    )


def speed(report: Report) -> Table:
    """Tokens a second of all clients together."""
    plan = report.plan
    head = (
        *("clients", f"decode, {plan.new_tokens} tokens each: bare", "server", "server/bare"),
        *(f"prefill, {plan.long_prompt_tokens} tokens each: bare", "server", "server/bare"),
    )
    rows: list[Sequence[str]] = [
        (str(clients), *_compared(load.decode), *_compared(load.prefill))
        for clients, load in report.samples.loads.items()
    ]
    return head, rows


def latency(report: Report) -> Table:
    """Milliseconds: to the first token, between tokens, and what the server adds."""
    plan = report.plan
    short, long = plan.short_prompt_tokens, plan.long_prompt_tokens
    head = ("milliseconds", "bare", "server", "added by the server")
    rows: list[Sequence[str]] = []
    for clients, load in report.samples.loads.items():
        who = f"{clients} client" + "s" * (clients > 1)
        rows += [
            (f"to the first token, prompt of {short}, {who}", *_added_ms(load.first_s)),
            (f"to the first token, prompt of {long}, {who}", *_added_ms(load.long_first_s)),
            (f"between two tokens, 99 of 100, {who}", "", f"{_ms(median(load.gap_s))}", ""),
        ]
    whole = f"whole request, prompt of {short}, one token, not streamed"
    return head, [(whole, *_added_ms(report.samples.request_s)), *rows]


def costs(report: Report) -> Table:
    """Start, memory, idle CPU."""
    found = report.footprint
    idle = found.idle
    start = pairs(found.start_s)
    rows: list[Sequence[str]] = [
        ("process start to ready, s", *(f"{seconds:.2f}" for seconds in start.medians)),
        ("RSS before the first request, MiB", *_sizes(idle.bare, idle.worker, idle.arbiter, "rss")),
        ("PSS before the first request, MiB", *_sizes(idle.bare, idle.worker, idle.arbiter, "pss")),
        ("RSS peak, MiB", *_sizes(found.bare, found.worker, idle.arbiter, "peak")),
        ("CPU while idle, % of a core", f"{idle.bare_cores:.2%}", f"{idle.served_cores:.2%}"),
    ]
    return ("", "bare", "server"), rows


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _compared(both: Both) -> tuple[str, str, str]:
    found = pairs(both)
    bare, served = found.medians
    spread = f"{min(found.ratios):.0%} to {max(found.ratios):.0%}"
    return f"{bare:.1f}", f"{served:.1f}", f"{found.ratio:.1%} ({spread})"


def _added_ms(both: Both) -> tuple[str, str, str]:
    found = pairs(both)
    bare, served = found.medians
    return _ms(bare), _ms(served), _ms(found.added)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _sizes(bare: Memory, worker: Memory, arbiter: Memory, kind: str) -> tuple[str, str]:
    in_mib = [getattr(memory, f"{kind}_bytes") / MIB for memory in (bare, worker, arbiter)]
    return f"{in_mib[0]:.0f}", f"{in_mib[1]:.0f} + {in_mib[2]:.0f} arbiter"
