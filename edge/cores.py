"""Which CPUs an engine thread is worth: performance cores, and one thread of each core.

A step waits for its slowest thread, and decoding waits for memory: neither an efficiency core
nor the second thread of a core makes it faster. onnxruntime's own default is a thread for each
physical core; llama.cpp counts the physical cores too, those for performance where there are two
kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.cgroup import read

_CPUS = Path("sys/devices/system/cpu")
# Shares of the fastest core's figure from which a core counts as one of its kind. Capacity is
# speed as the kernel rates it: 0.9 for the second of three kinds of core in a phone, 0.3-0.5 for
# the smallest kind. Frequencies differ less, and by a few percent among cores of one kind.
_OF_CAPACITY, _OF_FREQUENCY = 0.6, 0.8


def allowed() -> frozenset[int]:
    """The CPUs that affinity and cpuset leave to this process."""
    # Of the process's first thread, which is never narrowed: the caller may be (`on`).
    return frozenset(os.sched_getaffinity(os.getpid()))


def fast(cpus: frozenset[int], root: Path) -> frozenset[int]:
    """Those of `cpus` on performance cores; all of them where the kernel tells no kinds apart.

    In this order: Intel's two kinds, the capacities of ARM and RISC-V, the highest frequencies.
    """
    intel = listed(read(root / "sys/devices/cpu_core/cpus"))
    if intel and (root / "sys/devices/cpu_atom").exists():
        return cpus & intel or cpus
    for name, share in (
        ("cpu_capacity", _OF_CAPACITY),
        ("cpufreq/cpuinfo_max_freq", _OF_FREQUENCY),
    ):
        rated = {cpu: _number(root / _CPUS / f"cpu{cpu}" / name) for cpu in cpus}
        if all(rated.values()) and len(set(rated.values())) > 1:
            least = share * max(rated.values())
            return frozenset(cpu for cpu, figure in rated.items() if figure >= least)
    return cpus


def single(cpus: frozenset[int], root: Path) -> frozenset[int]:
    """One of `cpus` for each physical core: the first of those that share it."""
    return frozenset(min((_siblings(cpu, root) & cpus) | {cpu}) for cpu in cpus)


def listed(text: str) -> frozenset[int]:
    """The numbers of a list as the kernel writes it: `0-3,8,10-11`; none where it is none."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return frozenset()
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


@contextmanager
def on(cpus: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and every thread that is started inside, on `cpus`.

    A thread that is started keeps them for its life; the kernel lifts the mask where a later
    cpuset leaves none of them. Where the mask may not be set, nothing happens.
    """
    before = os.sched_getaffinity(0)
    if cpus == before:
        yield  # a mask that is set, even to the same, would not widen with the cpuset
        return
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def _siblings(cpu: int, root: Path) -> frozenset[int]:
    return listed(read(root / _CPUS / f"cpu{cpu}" / "topology/thread_siblings_list"))


def _number(path: Path) -> int:
    text = read(path)
    return int(text) if text.isdecimal() else 0
