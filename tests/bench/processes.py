"""What processes cost, from /proc (see `man 5 proc`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)  # idle and iowait, of the line `cpu` in /proc/stat
_GUEST_FIELDS = 8  # guest time, counted under user time already


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process: resident, its share of pages shared with others, peak resident."""

    rss_bytes: int
    pss_bytes: int
    peak_bytes: int


def family(pid: int) -> list[int]:
    """`pid` and all its descendants, itself first."""
    found = [pid]
    for parent in found:
        for task in (PROC / str(parent) / "task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def memory(pid: int) -> Memory:
    """What `pid` holds now."""
    folder = PROC / str(pid)
    fields = _sizes((folder / "smaps_rollup").read_text().splitlines()[1:])
    peak = _sizes((folder / "status").read_text().splitlines())["VmHWM"]
    return Memory(fields["Rss"], fields["Pss"], peak)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that the living `pids` have used, user and system."""
    return sum(map(_ticks, pids)) / TICKS_PER_S


def own_cpu_s() -> float:
    """CPU seconds of this process."""
    return cpu_s([os.getpid()])


def machine_cpu_s() -> float:
    """CPU seconds that the whole machine has used since it booted."""
    first = (PROC / "stat").read_text().splitlines()[0]
    fields = [int(field) for field in first.split()[1:]][:_GUEST_FIELDS]
    return (sum(fields) - sum(fields[i] for i in _IDLE_FIELDS)) / TICKS_PER_S


def _ticks(pid: int) -> int:
    after_name = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])


def _sizes(lines: Iterable[str]) -> dict[str, int]:
    """`Name:   123 kB` lines as bytes by name; other lines are left out."""
    pairs = (line.split() for line in lines)
    return {p[0].rstrip(":"): int(p[1]) * 1024 for p in pairs if len(p) == 3 and p[2] == "kB"}
