"""The CPU quota of a cgroup: followed while the appliance runs, and left alone where it idles."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from edge import cpu

from .traffic import eventually, figure, post

GROUPS = {"v1": Path("/sys/fs/cgroup/cpu"), "v2": Path("/sys/fs/cgroup")}
PATIENCE_S = 60.0
PERIOD_US = 100_000
IDLE_S = 5.0
QUESTION = "What is the capital of Spain?"


class Group:
    """A cgroup of our own below the topmost one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, pids):
        for pid in pids:
            (self.folder / "cgroup.procs").write_text(str(pid))

    def allow(self, cores):
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text(f"{int(cores * PERIOD_US)} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))


@pytest.fixture
def group(serve):
    """Skips where this user may not make cgroups, or the kernel has no quota."""
    made = None
    for top in GROUPS.values():
        folder = top / f"phial-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "cpu.max").exists() or (folder / "cpu.cfs_quota_us").exists():
            made = folder
            break
        folder.rmdir()
    if made is None:
        pytest.skip("needs the right to make a cgroup with a CPU quota")
    yield Group(made)
    deadline = time.monotonic() + PATIENCE_S
    while (made / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    made.rmdir()


def processes(served):
    """The arbiter and its worker."""
    pid = served.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def answer(served):
    """Greedy, and long enough to see a change of threads."""
    body = {
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 150,
        "logit_bias": {"0": -100},
    }
    status, raw, _ = post(served, "/v1/chat/completions", body)
    assert status == 200
    return json.loads(raw)["choices"][0]["message"]["content"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_threads_follow_the_quota_without_a_restart(serve, model_bundle, group):
    served = serve("--bundle", str(model_bundle))
    most = figure(served, "edge_engine_threads")
    group.take(processes(served))
    expected = [answer(served) for _ in range(2)][1]  # the second time from cached prefixes
    found, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            found.append(answer(served))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for cores in (1, 2, 1.5):
            group.allow(cores)
            eventually(lambda: figure(served, "edge_cpu_quota_cores") == cores)  # noqa: B023
            threads = min(cpu.threads(cores), most)
            eventually(lambda: figure(served, "edge_engine_threads") == threads)  # noqa: B023
    finally:
        is_over.set()
        asker.join()
    assert set(found) == {expected}
    assert "the engine follows the CPU quota" in served.log
    assert served.stop() == 0


@pytest.mark.parametrize("settings", [{"threads": 2}, {"engine": "genai"}], ids=str)
def test_where_threads_are_set_or_fixed_they_stay(serve, model_bundle, group, settings):
    served = serve("--bundle", str(model_bundle), **settings)
    threads = figure(served, "edge_engine_threads")
    group.take(processes(served))
    group.allow(1)
    eventually(lambda: figure(served, "edge_cpu_quota_cores") == 1)
    time.sleep(5)  # two looks and a margin
    assert figure(served, "edge_engine_threads") == threads
    assert served.stop() == 0


def test_an_idle_appliance_sleeps(serve, model_bundle):
    """Less than 0.5 % of a core was asked for; the bound leaves room for one odd wake-up."""
    served = serve("--bundle", str(model_bundle))
    pids = processes(served)
    time.sleep(2)  # what the start leaves behind
    before = cpu_seconds(pids)
    time.sleep(IDLE_S)
    assert cpu_seconds(pids) - before < 0.01 * IDLE_S
    assert served.stop() == 0
