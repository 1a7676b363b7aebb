"""CPU and memory limits, read from made-up cgroup trees."""

from __future__ import annotations

import os

import pytest

from edge import cpu

CORES = len(os.sched_getaffinity(0))
MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def tree(tmp_path):
    """Writes files below `sys/fs/cgroup` of a root of its own and returns the root."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("50000 100000\n", 0.5),
        ("25000 50000", 0.5),
        ("max 100000\n", CORES),
        ("99999900000 100000\n", CORES),
        ("", CORES),
        ("nonsense", CORES),
        ("100000", CORES),
        ("100000 0", CORES),
        ("-1 100000", CORES),
    ],
)
def test_quota_of_cgroup_v2(tree, content, cores):
    assert cpu.quota_cores(tree(cpu_dot_max=content)) == pytest.approx(cores)


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [
        ("50000\n", "100000\n", 0.5),
        ("-1\n", "100000\n", CORES),
        ("0", "100000", CORES),
        ("50000", "0", CORES),
        ("50000", "", CORES),
        ("x", "y", CORES),
    ],
)
def test_quota_of_cgroup_v1(tree, quota, period, cores):
    root = tree(cpu__cpu_dot_cfs_quota_us=quota, cpu__cpu_dot_cfs_period_us=period)
    assert cpu.quota_cores(root) == pytest.approx(cores)


def test_v1_is_read_where_v2_sets_no_limit(tree):
    root = tree(
        cpu_dot_max="max 100000",
        cpu__cpu_dot_cfs_quota_us="50000",
        cpu__cpu_dot_cfs_period_us="100000",
    )
    assert cpu.quota_cores(root) == 0.5


def test_without_cgroups_the_affinity_counts(tmp_path):
    assert cpu.quota_cores(tmp_path) == CORES


def test_the_affinity_mask_bounds_the_quota(tree, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert cpu.quota_cores(tree(cpu_dot_max="800000 100000")) == 3
    assert cpu.quota_cores(tree(cpu_dot_max="150000 100000")) == 1.5


@pytest.mark.parametrize(
    ("cores", "threads"),
    [(0.1, 1), (0.9, 1), (1, 1), (1.5, 1), (1.74, 1), (1.8, 2), (2, 2), (3.9, 4), (64, 64)],
)
def test_threads_are_rounded_down_but_for_a_hair(cores, threads):
    assert cpu.threads(cores) == threads


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory_dot_max": "1048576\n"}, 1 << 20),
        ({"memory_dot_max": "max\n"}, MACHINE_BYTES),
        ({"memory__memory_dot_limit_in_bytes": "2097152"}, 2 << 20),
        ({"memory__memory_dot_limit_in_bytes": "9223372036854771712"}, MACHINE_BYTES),
        ({"memory_dot_max": "1048576", "memory__memory_dot_limit_in_bytes": "2097152"}, 1 << 20),
        ({"memory_dot_max": str(MACHINE_BYTES * 4)}, MACHINE_BYTES),
        ({"memory_dot_max": "lots"}, MACHINE_BYTES),
        ({}, MACHINE_BYTES),
    ],
    ids=str,
)
def test_memory_limit(tree, files, limit):
    assert cpu.memory_limit_bytes(tree(**files)) == limit


def test_resident_memory_of_this_process():
    assert 1 << 20 < cpu.resident_bytes() < MACHINE_BYTES


@pytest.mark.parametrize("content", [None, "", "12\n"])
def test_resident_memory_without_the_kernels_help(tmp_path, content):
    if content is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/statm").write_text(content)
    assert cpu.resident_bytes(tmp_path) == 0


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({"cpu_dot_stat": "usage_usec 5\nthrottled_usec 2500000\n"}, 2.5),
        ({"cpu__cpu_dot_stat": "nr_throttled 3\nthrottled_time 1500000000\n"}, 1.5),
        ({"cpu_dot_stat": "usage_usec 5\n"}, 0.0),
        ({"cpu_dot_stat": "\nodd\nthrottled_usec 1000000"}, 1.0),
        ({"cpu_dot_stat": "throttled_usec many"}, 0.0),
        ({}, 0.0),
    ],
    ids=str,
)
def test_throttled_time(tree, files, seconds):
    assert cpu.throttled_seconds(tree(**files)) == seconds


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n", {"fpu", "avx2", "avx512_vnni"}),
        ("Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n", {"fp", "asimd", "asimddp"}),
        ("flags : a\n\nflags : a b\n", {"a"}),
        ("flags\t:\n", set()),
        ("bogomips : 10\nvmx flags : ept\n", set()),
        (None, set()),
    ],
    ids=str,
)
def test_instruction_sets(tmp_path, content, found):
    if content is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(content)
    assert cpu.features(tmp_path) == found


def test_the_real_machine_answers():
    assert 0 < cpu.quota_cores() <= CORES
    assert cpu.memory_limit_bytes() > 1 << 24
    assert cpu.throttled_seconds() >= 0
