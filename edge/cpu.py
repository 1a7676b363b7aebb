"""CPU and memory this process may use: cgroup limits, affinity, kinds of core, instruction sets."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from edge import cgroup, cores
from edge.cgroup import V2

_ROOT = Path("/")
_UNLIMITED_BYTES = 1 << 60


def quota_cores(root: Path = _ROOT) -> float:
    """Cores' worth of CPU time allowed: the least cgroup quota, at most the affinity mask's size.

    cgroup v2 `cpu.max` holds "quota period" or "max period" in microseconds; cgroup v1 keeps
    them in `cpu.cfs_quota_us` (-1 for none) and `cpu.cfs_period_us`.
    """
    return min([float(len(cores.allowed())), *_quotas(root)])


def engine_cpus(root: Path = _ROOT) -> frozenset[int]:
    """The CPUs for the engine's threads: those allowed, on performance cores where some are."""
    return cores.fast(cores.allowed(), root)


def threads(cores: float) -> int:
    """Engine threads for a quota: the nearest number, halves up, at least one.

    More threads than the quota stall together when it is used up, fewer leave some of it unused;
    measured in docs/decisions/0009-cpu-sense.md.
    """
    return max(1, math.floor(cores + 0.5))


def engine_threads(root: Path = _ROOT) -> int:
    """What the quota is good for, at most one thread for each core that is worth one."""
    return min(threads(quota_cores(root)), len(cores.single(engine_cpus(root), root)))


def features(root: Path = _ROOT) -> frozenset[str]:
    """Instruction sets of the first core as the kernel names them; empty where it does not.

    `/proc/cpuinfo` lists them under `flags` on x86 and under `Features` on ARM.
    """
    for line in cgroup.read(root / "proc/cpuinfo").splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def memory_limit_bytes(root: Path = _ROOT) -> int:
    """Memory this process may use in all: the cgroup's limit, else the machine's memory."""
    texts = [
        cgroup.read(folder / name)
        for controller, name in ((V2, "memory.max"), ("memory", "memory.limit_in_bytes"))
        for folder in cgroup.folders(root, controller)
    ]
    found = [int(text) for text in texts if text.isdecimal()]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit in found if limit < _UNLIMITED_BYTES)])


def resident_bytes(root: Path = _ROOT) -> int:
    """Resident set size of this process, in bytes."""
    pages = cgroup.read(root / "proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0


def throttled_seconds(root: Path = _ROOT) -> float:
    """Seconds for which this process's cgroups were throttled, from the start of each."""
    return sum(
        _throttled_s(cgroup.read(folder / "cpu.stat"))
        for controller in (V2, "cpu")
        for folder in cgroup.folders(root, controller)
    )


def _throttled_s(stat: str) -> float:
    """v2 counts microseconds, v1 nanoseconds."""
    fields = dict(line.split(maxsplit=1) for line in stat.splitlines() if " " in line)
    for counter, per_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        if fields.get(counter, "").isdecimal():
            return int(fields[counter]) / per_second
    return 0.0


def _quotas(root: Path) -> Iterator[float]:
    """The quota of every cgroup that sets one, in cores."""
    pairs = [
        cgroup.read(folder / "cpu.max").partition(" ")[::2] for folder in cgroup.folders(root, V2)
    ]
    pairs += [
        (cgroup.read(folder / "cpu.cfs_quota_us"), cgroup.read(folder / "cpu.cfs_period_us"))
        for folder in cgroup.folders(root, "cpu")
    ]
    for quota, period in pairs:
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            yield int(quota) / int(period)
