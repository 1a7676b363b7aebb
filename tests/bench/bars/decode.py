"""Decode: one stream at several depths, and many streams together."""

from __future__ import annotations

from functools import partial

from tests.bench.bars.row import Outcome, Row, at_least, unmeasured
from tests.bench.bars.samples import Samples, greatest, ratio, take
from tests.bench.bars.side import Side
from tests.bench.bars.stage import Stage

BARS_OF_PEER = {32: 1.0, 300: 1.25}
BAR_OF_STOCK_LOOP = 1.9
BAR_OF_ONE_STREAM = 2.4
BAR_OF_PEER_TOGETHER = 1.6
ONE = "one stream"
UNIT = "tokens/s"
NO_PEER = "no peer asked for (--peer llama.cpp)"


def one(stage: Stage) -> Outcome:
    """One stream at every depth: against llama.cpp's best setting and the generator loop."""
    rows: list[Row] = []
    samples: dict[str, Samples] = {}
    for depth in stage.plan.depths:
        found = _at(stage, depth)
        samples[f"decode of one stream at depth {depth}, {UNIT}"] = found
        rows += _rows(stage, depth, found)
    return Outcome(rows, samples)


def together(stage: Stage) -> Outcome:
    """As many streams as there are clients, against one stream and against llama.cpp's."""
    plan, phial = stage.plan, stage.phial
    prompts = partial(stage.prompts, tokens=plan.depths[0])
    measures = {
        f"{phial.name}, {ONE}": lambda: phial.decode(prompts(1), plan.new_tokens),
        **{
            side.name: lambda side=side: side.decode(prompts(plan.clients), plan.new_tokens)
            for side in (phial, *stage.peers.values())
        },
    }
    found = take(measures, plan.rounds)
    many = f"decode, {plan.clients} streams"
    alone = ratio(found, phial.name, f"{phial.name}, {ONE}")
    rows = [at_least(f"{many}, against one stream of its own", alone, BAR_OF_ONE_STREAM, UNIT)]
    against = f"{many}, against llama.cpp with as many slots"
    if stage.peers:
        best = ratio(found, phial.name, greatest(found, stage.peers))
        rows.append(at_least(against, best, BAR_OF_PEER_TOGETHER, UNIT))
    else:
        rows.append(unmeasured(against, f">= {BAR_OF_PEER_TOGETHER:g}x", NO_PEER))
    return Outcome(rows, {f"{many}, {UNIT}": found})


def _at(stage: Stage, depth: int) -> Samples:
    sides: list[Side] = [stage.phial, *stage.peers.values(), stage.loop]
    if stage.stock_loop:
        sides.append(stage.stock_loop)
    new = stage.plan.new_tokens
    measures = {
        side.name: lambda side=side: side.decode(stage.prompts(1, depth), new) for side in sides
    }
    return take(measures, stage.plan.rounds)


def _rows(stage: Stage, depth: int, found: Samples) -> list[Row]:
    phial, what = stage.phial.name, f"decode, {ONE} at depth {depth}"
    rows = [
        at_least(f"{what}, against OGA's loop", ratio(found, phial, stage.loop.name), None, UNIT)
    ]
    if stage.stock_loop:
        stock = ratio(found, phial, stage.stock_loop.name)
        rows.append(
            at_least(f"{what}, against {stage.stock_loop.name}", stock, BAR_OF_STOCK_LOOP, UNIT)
        )
    bar = BARS_OF_PEER.get(depth)
    if not stage.peers:
        return [*rows, unmeasured(f"{what}, against llama.cpp", f">= {bar or 1:g}x", NO_PEER)]
    best = greatest(found, stage.peers)
    return [*rows, at_least(f"{what}, against {best}", ratio(found, phial, best), bar, UNIT)]
