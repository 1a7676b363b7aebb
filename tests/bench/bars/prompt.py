"""Prompts: prefill, a cached history, and a long prompt that arrives beside a running stream."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.bench.bars.decode import NO_PEER
from tests.bench.bars.row import Outcome, Row, at_least, at_most, unmeasured
from tests.bench.bars.samples import SETTLE_S, Measure, Samples, greatest, least, ratio, take
from tests.bench.bars.side import Server, Side
from tests.bench.bars.stage import Stage
from tests.bench.pairs import Pairs, TooFast

BAR_OF_PEER, BAR_OF_LOOP = 1.25, 1.9
BAR_OF_COLD, BAR_OF_PEER_WARM = 0.1, 1.0
BAR_OF_GAP = 5.0
UNIT = "tokens/s"
UNDISTURBED_S = 0.5  # the stream runs alone for so long


def prefill(stage: Stage) -> Outcome:
    """Tokens of the prompt over the time to the first token of the answer."""
    plan, sides = stage.plan, [stage.phial, *stage.peers.values(), stage.loop]
    found = take({side.name: _prefills(stage, side) for side in sides}, plan.rounds)
    what, phial = f"prefill of {plan.prefill} tokens", stage.phial.name
    rows = [
        at_least(
            f"{what}, against OGA's loop on the same export",
            ratio(found, phial, stage.loop.name),
            BAR_OF_LOOP,
            UNIT,
        )
    ]
    if stage.peers:
        best = greatest(found, stage.peers)
        rows.append(
            at_least(f"{what}, against {best}", ratio(found, phial, best), BAR_OF_PEER, UNIT)
        )
    else:
        rows.append(unmeasured(f"{what}, against llama.cpp", f">= {BAR_OF_PEER:g}x", NO_PEER))
    return Outcome(rows, {f"{what}, {UNIT}": found})


def history(stage: Stage) -> Outcome:
    """Time to the first token of a known history and some new tokens, cold and warm."""
    plan = stage.plan
    cold: Samples = {}
    warm: Samples = {}
    cached: Samples = {}
    sides = [stage.phial, *stage.peers.values()]
    for number in range(plan.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            first, again, known = _cold_and_warm(stage, side)
            cold.setdefault(side.name, []).append(first)
            warm.setdefault(side.name, []).append(again)
            cached.setdefault(side.name, []).append(known)
    what = f"first token of {plan.history} known tokens and {plan.added} new"
    phial = stage.phial.name
    own = Pairs(bare=tuple(cold[phial]), served=tuple(warm[phial]))
    known = f"s, {median(cached[phial]):.0f} tokens cached"
    rows = [at_most(f"{what}, warm against cold", own, BAR_OF_COLD, known)]
    rows.append(_warm_against_peer(stage, what, warm))
    samples = {f"{what}, cold, s": cold, f"{what}, warm, s": warm, f"{what}, cached": cached}
    return Outcome(rows, samples)


def arrival(stage: Stage) -> Outcome:
    """The worst gap of a running stream while a long prompt arrives, in its median gaps."""
    plan = stage.plan
    sides = (stage.phial, *stage.peers.values())
    found = take({side.name: _disturbed(stage, side) for side in sides}, plan.rounds)
    what = f"worst gap of a stream while {plan.arriving} tokens arrive, in its median gaps"
    rows: list[Row] = []
    for name, values in found.items():
        pairs = Pairs(bare=tuple(1.0 for _ in values), served=tuple(values))
        if name == stage.phial.name:
            rows.append(at_most(what, pairs, BAR_OF_GAP))
        else:
            rows.append(at_least(f"{what}: {name}", pairs, None))
    return Outcome(rows, {what: found})


def _prefills(stage: Stage, side: Side) -> Measure:
    tokens = stage.plan.prefill
    return lambda: tokens / side.first_s(stage.prompts(1, tokens)[0])


def _cold_and_warm(stage: Stage, side: Server) -> tuple[float, float, float]:
    """Seconds of a fresh prompt and of one that starts as it does; tokens that were cached."""
    plan = stage.plan
    prompt, other = stage.prompts(2, plan.history + plan.added)
    time.sleep(SETTLE_S)
    cold_s = side.first_s(prompt)
    time.sleep(SETTLE_S)
    warm = side.stream([*prompt[: plan.history], *other[plan.history :]], 1)
    return cold_s, warm.first_s, float(warm.cached_tokens)


def _warm_against_peer(stage: Stage, what: str, warm: Samples) -> Row:
    if not stage.peers:
        bar = f"<= {BAR_OF_PEER_WARM:g}x"
        return unmeasured(f"{what}, warm, against llama.cpp", bar, NO_PEER)
    best = least(warm, stage.peers)
    pairs = ratio(warm, stage.phial.name, best)
    return at_most(f"{what}, warm, against {best}", pairs, BAR_OF_PEER_WARM, "s")


def _disturbed(stage: Stage, side: Server) -> Measure:
    plan = stage.plan

    def measure() -> float:
        prompt, arriving = stage.prompts(1, plan.depths[0])[0], stage.prompts(1, plan.arriving)[0]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(side.stream, prompt, plan.running)
            time.sleep(UNDISTURBED_S)
            side.first_s(arriving)
            stream = running.result()
        if stream.moments[-1] < UNDISTURBED_S:
            raise TooFast("the running stream had ended before the long prompt arrived")
        return max(stream.gaps_s) / median(stream.gaps_s)

    return measure
