"""Peak memory with many long streams, against the weights and the KV cache that they need."""

from __future__ import annotations

from tests.bench import processes
from tests.bench.bars import graph
from tests.bench.bars.row import Outcome, size
from tests.bench.bars.stage import Stage

SPARE_BYTES = 150e6


def measure(stage: Stage) -> Outcome:
    """An appliance that has done nothing before: the peak of its two processes together."""
    plan = stage.plan
    answer = min(plan.new_tokens, plan.held // 2)
    with stage.another_phial({}) as phial:
        phial.streams(stage.prompts(plan.clients, plan.held - answer), answer)
        family = processes.family(phial.served.process.pid)
        peak_bytes = sum(processes.memory(pid).peak_bytes for pid in family)
    needs = graph.read(stage.subject.folder)
    kv_bytes = plan.clients * plan.held * needs.kv_bytes_per_token
    most = needs.stored_bytes + kv_bytes + SPARE_BYTES
    what = f"peak RSS with {plan.clients} streams of {plan.held} tokens, both processes"
    parts = f"weights {needs.stored_bytes / 1e6:,.0f}, KV {kv_bytes / 1e6:,.0f}, spare 150"
    samples = {"peak RSS, bytes": {phial.name: [float(peak_bytes)]}}
    return Outcome([size(what, peak_bytes, most, parts)], samples)
