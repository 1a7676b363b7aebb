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


@pytest.fixture
def nested(tmp_path):
    """Writes files below a root of its own, for a process in the group /pod/phial."""

    def write(files, mounts):
        told = {"proc/self/cgroup": "2:cpu:/pod/phial\n1:memory:/pod/phial\n0::/pod/phial\n"}
        for name, text in (files | told | {"proc/self/mountinfo": mounts}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_MOUNTS = """\
30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""


@pytest.mark.parametrize("pod", ["max 100000", "75000 100000", "25000 100000"])
@pytest.mark.parametrize("own", ["max 100000", "50000 100000"])
def test_the_least_quota_of_nested_groups_counts(nested, pod, own):
    files = {"sys/fs/cgroup/pod/cpu.max": pod, "sys/fs/cgroup/pod/phial/cpu.max": own}
    cores = [int(text.split()[0]) / 1e5 for text in (pod, own) if not text.startswith("max")]
    assert cpu.quota_cores(nested(files, V2_MOUNT)) == min([*cores, CORES])


def test_nested_groups_of_cgroup_v1(nested):
    files = {
        "sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "30000",
        "sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/pod/cpu.stat": "throttled_time 1000000000",
        "sys/fs/cgroup/cpu/pod/phial/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/pod/phial/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/pod/phial/cpu.stat": "throttled_time 500000000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "3145728",
        "sys/fs/cgroup/memory/pod/phial/memory.limit_in_bytes": "2097152",
    }
    root = nested(files, V1_MOUNTS)
    assert cpu.quota_cores(root) == pytest.approx(0.3)
    assert cpu.memory_limit_bytes(root) == 2 << 20
    assert cpu.throttled_seconds(root) == 1.5


@pytest.mark.parametrize(
    ("files", "quota", "threads"),
    [
        ({}, "max 100000", 8),
        ({"cpu_core/cpus": "0-3", "cpu_atom/cpus": "4-7"}, "max 100000", 4),
        ({"cpu_core/cpus": "0-3", "cpu_atom/cpus": "4-7"}, "600000 100000", 4),
        ({"cpu_core/cpus": "0-3", "cpu_atom/cpus": "4-7"}, "150000 100000", 2),
        (
            {
                "cpu_core/cpus": "0-3",
                "cpu_atom/cpus": "4-7",
                "system/cpu/cpu0/topology/thread_siblings_list": "0-1",
                "system/cpu/cpu1/topology/thread_siblings_list": "0-1",
            },
            "max 100000",
            3,
        ),
    ],
    ids=range(5),
)
def test_engine_threads_are_bounded_by_the_cores_that_are_worth_one(
    tree, monkeypatch, files, quota, threads
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    root = tree(cpu_dot_max=quota)
    for name, text in files.items():
        path = root / "sys/devices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu.engine_threads(root) == threads


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        (0.1, 1),
        (0.9, 1),
        (1, 1),
        (1.25, 1),
        (1.49, 1),
        (1.5, 2),
        (1.8, 2),
        (2, 2),
        (3.9, 4),
        (64, 64),
    ],
)
def test_threads_are_the_nearest_number_of_the_quota(cores, threads):
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
