"""What the measurement ran on, and what else ran there meanwhile."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge import cpu
from tests.bench import processes

LIBRARIES = ("onnxruntime", "onnxruntime-genai")


@dataclass(frozen=True, slots=True)
class Machine:
    """`other_cores` is how many cores' worth of time other processes took during the run."""

    processor: str
    cores: float
    memory_bytes: int
    python: str
    libraries: dict[str, str]
    load_before: float
    load_after: float
    other_cores: float
    duration_s: float


class Watch:
    """Watches the machine from its making to `read`."""

    def __init__(self, own_cpu_s: Callable[[], float]) -> None:
        """`own_cpu_s` tells the CPU seconds that the measurement itself has used so far."""
        self._own_cpu_s = own_cpu_s
        self._load = os.getloadavg()[0]
        self._started_s = time.monotonic()
        self._busy_s = processes.machine_cpu_s() - own_cpu_s()

    def read(self) -> Machine:
        """The machine, and what happened on it since the watch began."""
        spent_s = max(time.monotonic() - self._started_s, 1e-9)
        others_s = processes.machine_cpu_s() - self._own_cpu_s() - self._busy_s
        return Machine(
            processor=processor(Path("/proc/cpuinfo").read_text().splitlines()),
            cores=cpu.quota_cores(),
            memory_bytes=cpu.memory_limit_bytes(),
            python=platform.python_version(),
            libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
            load_before=self._load,
            load_after=os.getloadavg()[0],
            other_cores=max(0.0, others_s / spent_s),
            duration_s=spent_s,
        )


def processor(lines: Iterable[str]) -> str:
    """The processor's name from /proc/cpuinfo, its architecture where that holds none."""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
