"""How near decode comes to the machine's memory: weights read for a token times tokens a second."""

from __future__ import annotations

from statistics import median

from tests.bench.bars import bandwidth, graph
from tests.bench.bars.row import Outcome, Row
from tests.bench.bars.samples import take
from tests.bench.bars.stage import Stage

GIGA = 1e9


def measure(stage: Stage) -> Outcome:
    """Decode of one stream between measurements of the memory, with as many threads."""
    plan, phial = stage.plan, stage.phial
    needs = graph.read(stage.subject.folder)
    found = take(
        {
            "read": lambda: bandwidth.read(plan.threads) / GIGA,
            "decode": lambda: (
                phial.decode(stage.prompts(1, plan.depths[0]), plan.new_tokens)
                * needs.read_bytes_per_token
                / GIGA
            ),
            "copy": lambda: bandwidth.copy(plan.threads) / GIGA,
        },
        plan.rounds,
    )
    of_read = median(d / r for d, r in zip(found["decode"], found["read"], strict=True))
    of_copy = median(d / c for d, c in zip(found["decode"], found["copy"], strict=True))
    text = (
        f"{needs.read_bytes_per_token / 1e6:.0f} MB of weights a token, "
        f"{median(found['decode']):.1f} GB/s: {of_read:.0%} of a stream read "
        f"({median(found['read']):.1f} GB/s), {of_copy:.0%} of a stream copy "
        f"({median(found['copy']):.1f} GB/s)"
    )
    what = f"roofline of decode at depth {plan.depths[0]}"
    return Outcome([Row(what, text, "", "")], {"roofline, GB/s": found})
