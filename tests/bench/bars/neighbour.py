"""Speed beside a process that keeps a core busy, as a share of the speed without it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from tests.bench.bars.decode import NO_PEER
from tests.bench.bars.row import Outcome, Row, at_least, unmeasured
from tests.bench.bars.samples import SETTLE_S, Samples, greatest, ratio
from tests.bench.bars.side import Server
from tests.bench.bars.stage import Stage
from tests.bench.pairs import Pairs

BAR = 1.0
MOST_S = 600  # it ends by itself, whatever becomes of its parent
_SPIN = (
    "import hashlib, sys, time\n"
    "end = time.monotonic() + float(sys.argv[1])\n"
    "while time.monotonic() < end: hashlib.sha256(bytes(1 << 20)).digest()\n"
)
WHAT = "decode beside a busy process, share of the idle speed"


def measure(stage: Stage) -> Outcome:
    """Every side alone and then beside the neighbour, at once after each other."""
    sides = [stage.phial, *stage.peers.values()]
    alone: Samples = {side.name: [] for side in sides}
    beside: Samples = {side.name: [] for side in sides}
    for number in range(stage.plan.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            alone[side.name].append(_rate(stage, side))
            with busy():
                beside[side.name].append(_rate(stage, side))
    shares = {name: list(Pairs(tuple(alone[name]), tuple(beside[name])).ratios) for name in alone}
    samples = {f"{WHAT}: alone, tokens/s": alone, f"{WHAT}: beside, tokens/s": beside}
    return Outcome(_rows(stage, shares), {**samples, WHAT: shares})


@contextmanager
def busy() -> Iterator[None]:
    """One process that hashes without a pause."""
    with subprocess.Popen([sys.executable, "-c", _SPIN, str(MOST_S)]) as process:
        try:
            yield
        finally:
            process.kill()


def _rate(stage: Stage, side: Server) -> float:
    time.sleep(SETTLE_S)
    return side.decode(stage.prompts(1, stage.plan.depths[0]), stage.plan.new_tokens)


def _rows(stage: Stage, shares: Samples) -> list[Row]:
    phial = stage.phial.name
    text = ", ".join(f"{name} {median(values):.0%}" for name, values in shares.items())
    if not stage.peers:
        return [unmeasured(f"{WHAT}, against llama.cpp", f">= {BAR:g}x", f"{text}; {NO_PEER}")]
    best = greatest(shares, stage.peers)
    row = at_least(f"{WHAT}, against {best}", ratio(shares, phial, best), BAR)
    return [Row(row.measure, f"{row.found}; {text}", row.bar, row.verdict)]
