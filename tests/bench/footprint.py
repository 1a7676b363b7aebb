"""What the two sides cost beside tokens: start, memory, CPU while nothing is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes, sides
from tests.bench.processes import Memory
from tests.bench.sides import Bare, Served
from tests.bench.subject import Subject
from tests.bench.workload import Both


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory and CPU before the first request; CPU in cores, averaged over `seconds`."""

    arbiter: Memory
    worker: Memory
    bare: Memory
    served_cores: float
    bare_cores: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """`start_s`: process start to the first token; for the server, to `/readyz` 200.

    `worker` and `bare` are the memory after the last request, their peak included.
    """

    start_s: Both
    idle: Idle
    worker: Memory
    bare: Memory


def starts(
    subject: Subject, threads: int, settings: Mapping[str, str], times: int, scratch: Path
) -> Both:
    """Start and stop either side `times` times, in turn."""
    spent = Both()
    for _ in range(times):
        with sides.bare(subject.folder, threads, scratch / "bare.log") as bare:
            spent.bare.append(bare.start_s)
        with sides.served(subject.bundle, settings, scratch / "appliance.log") as served:
            spent.served.append(served.start_s)
    return spent


def idle(bare: Bare, served: Served, seconds: float) -> Idle:
    """Watch both sides do nothing for `seconds`."""
    family = processes.family(served.process.pid)
    before = processes.cpu_s(family), processes.cpu_s([bare.process.pid])
    started = time.monotonic()
    time.sleep(seconds)
    spent_s = time.monotonic() - started
    after = processes.cpu_s(family), processes.cpu_s([bare.process.pid])
    return Idle(
        arbiter=processes.memory(family[0]),
        worker=worker_memory(served),
        bare=processes.memory(bare.process.pid),
        served_cores=(after[0] - before[0]) / spent_s,
        bare_cores=(after[1] - before[1]) / spent_s,
        seconds=spent_s,
    )


def worker_memory(served: Served) -> Memory:
    """The memory of the appliance's worker, the one child of the arbiter."""
    return processes.memory(processes.family(served.process.pid)[1])
