"""Peak memory with many long streams, against the weights and the KV cache that they need."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import processes
from tests.bench.bars import graph
from tests.bench.bars.row import Outcome, size, unmeasured
from tests.bench.bars.stage import Stage
from tests.bench.client import Stream

SPARE_BYTES = 150e6


def measure(stage: Stage) -> Outcome:
    """An appliance that has done nothing before: the peak of its two processes together."""
    plan = stage.plan
    with stage.another_phial({}) as phial:
        # Half of it answer: the first stream still runs when the last prompt has come in.
        answer = plan.held // 2
        streams = phial.streams(stage.prompts(plan.clients, plan.held - answer), answer)
        family = processes.family(phial.served.process.pid)
        peak_bytes = sum(processes.memory(pid).peak_bytes for pid in family)
    needs = graph.read(stage.subject.folder)
    kv_bytes = plan.clients * plan.held * needs.kv_bytes_per_token
    most = needs.stored_bytes + kv_bytes + SPARE_BYTES
    what = f"peak RSS with {plan.clients} streams of {plan.held} tokens, both processes"
    parts = f"weights {needs.stored_bytes / 1e6:,.0f}, KV {kv_bytes / 1e6:,.0f}, spare 150"
    samples = {"peak RSS, bytes": {phial.name: [float(peak_bytes)]}}
    if not ran_together(streams):
        return Outcome([unmeasured(what, parts, "the streams did not all run at a time")], samples)
    return Outcome([size(what, peak_bytes, most, parts)], samples)


def ran_together(streams: Sequence[Stream]) -> bool:
    """Whether all of them, asked for at once, were running at one moment."""
    return max(one.first_s for one in streams) < min(one.moments[-1] for one in streams)
