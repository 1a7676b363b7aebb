"""Starts the three sides and runs the rounds."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.bench import machine, processes, sides
from tests.bench.flavors import ask, peer
from tests.bench.flavors.ask import Door, Prompts
from tests.bench.flavors.model import Made
from tests.bench.flavors.plan import MLFLOW, PIPELINE, SIDES, SLIM, Plan, Samples, rate, turns
from tests.bench.flavors.report import Report
from tests.bench.sides import Served

LIBRARIES = ("torch", "transformers", "mlflow")
_SETTLE_S = 0.3
_WARM_TOKENS = 4
Say = Callable[[str], None]


def measure(made: Made, plan: Plan, settings: Mapping[str, str], scratch: Path, say: Say) -> Report:
    """Starts first, one side at a time; then rounds with all three running, asked in turn."""
    samples = {name: Samples() for name in SIDES}
    for number in range(plan.starts):
        say(f"start {number + 1} of {plan.starts}")
        for name in turns(number):
            with start(name, made, settings, scratch) as served:
                samples[name].start_s.append(served.start_s)
    with ExitStack() as stack:
        running = {n: stack.enter_context(start(n, made, settings, scratch)) for n in SIDES}
        pids = [pid for served in running.values() for pid in processes.family(served.process.pid)]
        watch = machine.Watch(lambda: processes.cpu_s(pids) + processes.own_cpu_s())
        prompts = Prompts(made.weights)
        doors = {name: door(name, served) for name, served in running.items()}
        for one in doors.values():  # what is done once a process is no part of a round
            one.together([prompts.draw(_WARM_TOKENS) for _ in range(plan.clients)], _WARM_TOKENS)
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            for name in turns(number):
                time.sleep(_SETTLE_S)
                once(doors[name], prompts, plan, samples[name])
        for name, served in running.items():
            peaks = [processes.memory(p).peak_bytes for p in processes.family(served.process.pid)]
            samples[name].peak_bytes, samples[name].largest_bytes = sum(peaks), max(peaks)
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        return Report(made.description, watch.read(), plan, dict(settings), samples, versions)


def start(
    name: str, made: Made, settings: Mapping[str, str], scratch: Path
) -> AbstractContextManager[Served]:
    """Start the side `name`. Raises `NotStarted` when entered."""
    log = scratch / f"{name}.log"
    if name == MLFLOW:
        return peer.served(made.uri, made.tracking_uri, log)
    return sides.served(made.bundles[name], settings, log)


def door(name: str, served: Served) -> Door:
    """Where the side takes chats: the logged model's at `/invocations`, as MLflow's server does."""
    paths = {SLIM: ask.CHAT, PIPELINE: ask.INVOCATIONS, MLFLOW: ask.INVOCATIONS}
    return Door(served.address, paths[name])


def once(door: Door, prompts: Prompts, plan: Plan, samples: Samples) -> None:
    """One round of one side."""
    read = door.ask(prompts.draw(plan.prompt_tokens), 1)
    samples.prefill.append(read.prompt_tokens / read.spent_s)
    for clients, rates in ((1, samples.decode_one), (plan.clients, samples.decode_all)):
        shorter, longer = (
            door.together([prompts.draw(plan.short_prompt_tokens) for _ in range(clients)], tokens)
            for tokens in (plan.base_tokens, plan.new_tokens)
        )
        rates.append(rate(clients * (plan.new_tokens - plan.base_tokens), longer, shorter))
