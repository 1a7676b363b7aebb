"""CPU and memory this process may use: cgroup v1 and v2 limits, affinity, instruction sets."""

from __future__ import annotations

import math
import os
from pathlib import Path

_ROOT = Path("/")
_UNLIMITED_BYTES = 1 << 60


def quota_cores(root: Path = _ROOT) -> float:
    """Cores' worth of CPU time allowed: the cgroup quota, at most the affinity mask's size.

    cgroup v2 `cpu.max` holds "quota period" or "max period" in microseconds; cgroup v1 keeps
    them in `cpu.cfs_quota_us` (-1 for none) and `cpu.cfs_period_us`.
    """
    cores = float(len(os.sched_getaffinity(0)))
    quota = _quota_v2(root) or _quota_v1(root)
    return min(cores, quota) if quota else cores


def threads(cores: float) -> int:
    """Engine threads for a quota: rounded down from 1 on, since a throttled thread stalls all."""
    return max(1, math.floor(cores + 0.25))


def features(root: Path = _ROOT) -> frozenset[str]:
    """Instruction sets of the first core as the kernel names them; empty where it does not.

    `/proc/cpuinfo` lists them under `flags` on x86 and under `Features` on ARM.
    """
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def memory_limit_bytes(root: Path = _ROOT) -> int:
    """Memory this process may use in all: the cgroup's limit, else the machine's memory."""
    found = [
        int(text)
        for name in ("memory.max", "memory/memory.limit_in_bytes", "memory.limit_in_bytes")
        if (text := _read(root / "sys/fs/cgroup" / name)).isdecimal()
    ]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit in found if limit < _UNLIMITED_BYTES)])


def resident_bytes(root: Path = _ROOT) -> int:
    """Resident set size of this process, in bytes."""
    pages = _read(root / "proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0


def throttled_seconds(root: Path = _ROOT) -> float:
    """Seconds for which the cgroup was throttled (v2 counts microseconds, v1 nanoseconds)."""
    for name in ("cpu.stat", "cpu/cpu.stat"):
        fields = dict(
            line.split(maxsplit=1)
            for line in _read(root / "sys/fs/cgroup" / name).splitlines()
            if " " in line
        )
        for counter, per_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
            if fields.get(counter, "").isdecimal():
                return int(fields[counter]) / per_second
    return 0.0


def _quota_v2(root: Path) -> float | None:
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(root: Path) -> float | None:
    folder = root / "sys/fs/cgroup/cpu"
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    is_set = quota.isdecimal() and period.isdecimal() and int(period) > 0
    return int(quota) / int(period) if is_set else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
