"""Speed under a CPU quota, as a share of what the quota leaves of the unlimited speed."""

from __future__ import annotations

from contextlib import ExitStack

from edge import cpu
from tests.bench.bars import quota
from tests.bench.bars.quota import NoGroup
from tests.bench.bars.row import Outcome, Row, at_least, unmeasured
from tests.bench.bars.samples import Samples, take
from tests.bench.bars.side import Server
from tests.bench.bars.stage import Stage
from tests.bench.pairs import Pairs

BAR = 0.9
UNLIMITED = "no quota"
OWN_THREADS = {"EDGE_THREADS": "auto"}
"""Inside a group the appliance finds its number of threads by itself."""


def measure(stage: Stage) -> Outcome:
    """An appliance for every quota and one without, all at once, asked in turn."""
    cores = cpu.quota_cores()
    quotas = [allowed for allowed in stage.plan.quotas if allowed < cores]
    try:
        with ExitStack() as stack:
            servers = {_name(allowed): _started(stage, stack, allowed) for allowed in quotas}
            servers[UNLIMITED] = stage.phial
            found = _rates(stage, servers)
    except NoGroup as error:
        return Outcome([unmeasured(_what(q, cores), f">= {BAR:g}x", str(error)) for q in quotas])
    rows = [_row(found, allowed, cores) for allowed in quotas]
    return Outcome(rows, {"decode under a CPU quota, tokens/s": found})


def _started(stage: Stage, stack: ExitStack, allowed: float) -> Server:
    group = stack.enter_context(quota.limited(allowed))
    return stack.enter_context(stage.another_phial(OWN_THREADS, name=_name(allowed), group=group))


def _rates(stage: Stage, servers: dict[str, Server]) -> Samples:
    plan = stage.plan
    measures = {
        name: lambda side=side: side.decode(stage.prompts(1, plan.depths[0]), plan.new_tokens)
        for name, side in servers.items()
    }
    return take(measures, plan.rounds)


def _row(found: Samples, allowed: float, cores: float) -> Row:
    """The unlimited speed times the quota's part of the cores is what is due."""
    due = tuple(rate * allowed / cores for rate in found[UNLIMITED])
    pairs = Pairs(bare=due, served=tuple(found[_name(allowed)]))
    return at_least(_what(allowed, cores), pairs, BAR, "tokens/s")


def _name(allowed: float) -> str:
    return f"{allowed:g} CPUs"


def _what(allowed: float, cores: float) -> str:
    return f"decode with {allowed:g} CPUs of {cores:g}, against its part of the unlimited speed"
