"""Kinds of core and their threads, from made-up machines; and masks on real threads."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import cores

EIGHT = frozenset(range(8))


@pytest.fixture
def machine(tmp_path):
    """Writes files below `sys/devices` of a root of its own and returns the root."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / "sys/devices" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return write


def each(name, figures):
    return {f"system/cpu/cpu{cpu}/{name}": str(figure) for cpu, figure in enumerate(figures)}


INTEL = {"cpu_core/cpus": "0-3", "cpu_atom/cpus": "4-7"}
BIG_LITTLE = each("cpu_capacity", [414] * 4 + [1024] * 4)  # A55 and A76
THREE_KINDS = each("cpu_capacity", [325] * 4 + [866] * 3 + [1024])
FREQUENCIES = each("cpufreq/cpuinfo_max_freq", [1_416_000] * 4 + [2_208_000] * 4)
FAVOURED = each("cpufreq/cpuinfo_max_freq", [4_700_000] * 6 + [4_900_000] * 2)


@pytest.mark.parametrize(
    ("files", "fast"),
    [
        (INTEL, {0, 1, 2, 3}),
        (BIG_LITTLE, {4, 5, 6, 7}),
        (THREE_KINDS, {4, 5, 6, 7}),
        (FREQUENCIES, {4, 5, 6, 7}),
        (FAVOURED, EIGHT),
        (BIG_LITTLE | each("cpufreq/cpuinfo_max_freq", [9] * 4 + [1] * 4), {4, 5, 6, 7}),
        (each("cpu_capacity", [1024] * 8), EIGHT),
        (each("cpu_capacity", [1024] * 8) | FREQUENCIES, {4, 5, 6, 7}),
        (each("cpu_capacity", [1024] * 7), EIGHT),  # one of them says nothing
        (each("cpu_capacity", ["fast"] * 8), EIGHT),
        ({"cpu_core/cpus": "0-3"}, EIGHT),
        ({"cpu_core/cpus": "none", "cpu_atom/cpus": "4-7"}, EIGHT),
        ({}, EIGHT),
    ],
    ids=range(13),
)
def test_performance_cores(machine, files, fast):
    assert cores.fast(EIGHT, machine(files)) == fast


@pytest.mark.parametrize("files", [INTEL, BIG_LITTLE], ids=["intel", "arm"])
def test_only_what_is_allowed_counts(machine, files):
    root = machine(files)
    assert cores.fast(frozenset({3, 4}), root) < {3, 4}
    slow = EIGHT - cores.fast(EIGHT, root)
    assert cores.fast(slow, root) == slow


@pytest.mark.parametrize(
    ("siblings", "cpus", "single"),
    [
        (["0-1", "0-1", "2-3", "2-3", "4", "5"], range(6), {0, 2, 4, 5}),
        (["0,4", "1,5", "2,6", "3,7"] * 2, range(8), {0, 1, 2, 3}),
        (["0,4", "1,5", "2,6", "3,7"] * 2, [4, 5, 1], {4, 1}),
        (["0", "1"], range(2), {0, 1}),
        ([], range(4), {0, 1, 2, 3}),
        (["?"] * 4, range(4), {0, 1, 2, 3}),
    ],
    ids=range(6),
)
def test_one_cpu_for_each_physical_core(machine, siblings, cpus, single):
    root = machine(each("topology/thread_siblings_list", siblings))
    assert cores.single(frozenset(cpus), root) == single


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", {0}),
        ("0-3,8,10-11", {0, 1, 2, 3, 8, 10, 11}),
        ("1, 3\n", {1, 3}),
        ("", set()),
        ("a-b", set()),
        ("3-", {3}),
        ("1,,2", set()),
    ],
)
def test_lists_as_the_kernel_writes_them(text, numbers):
    assert cores.listed(text) == numbers


@given(st.frozensets(st.integers(0, 300)))
def test_a_list_of_single_numbers_is_read_back(numbers):
    assert cores.listed(",".join(map(str, sorted(numbers)))) == numbers


def test_threads_that_are_started_inside_keep_to_the_cpus():
    here = os.sched_getaffinity(0)
    one = frozenset({max(here)})
    seen = []
    go = threading.Event()

    def look():
        go.wait(10)
        seen.append(os.sched_getaffinity(0))

    def work():
        with cores.on(one):
            inner = threading.Thread(target=look)
            inner.start()
        seen.append(os.sched_getaffinity(0))
        go.set()
        inner.join()

    outer = threading.Thread(target=work)
    outer.start()
    outer.join()
    assert seen == [here, one]
    assert cores.allowed() == here


def test_what_is_allowed_is_asked_of_the_process():
    """Also from within: a narrowed thread must not take its own mask for the process's."""
    here = os.sched_getaffinity(0)
    found = []

    def work():
        with cores.on(frozenset({min(here)})):
            found.append(cores.allowed())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert found == [here]


def test_cpus_that_are_not_there_change_nothing():
    here = os.sched_getaffinity(0)
    with cores.on(frozenset({4000})):
        assert os.sched_getaffinity(0) == here
    assert os.sched_getaffinity(0) == here


def test_a_mask_that_would_change_nothing_is_not_set(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *arguments: calls.append(arguments))
    with cores.on(frozenset(os.sched_getaffinity(0))):
        pass
    assert calls == []
