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

TOPS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))  # v1, v2
PERIOD_US = 100_000
IDLE_S = 5.0
QUESTION = "What is the capital of Spain?"


class Quota:
    """A cgroup of our own below the topmost one. Raises `OSError` where we may not make one."""

    steps = (1, 2, 1.5)

    def __init__(self) -> None:
        top = next((top for top in TOPS if (top / "cgroup.procs").exists()), TOPS[1])
        self.folder = top / f"phial-test-{os.getpid()}"
        self.folder.mkdir()
        if not any((self.folder / name).exists() for name in ("cpu.max", "cpu.cfs_quota_us")):
            self.folder.rmdir()
            raise OSError("the controller is not there")

    def limit(self, pids, cores):
        for pid in pids:
            (self.folder / "cgroup.procs").write_text(str(pid))
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text(f"{int(cores * PERIOD_US)} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))

    def close(self):
        eventually(lambda: not (self.folder / "cgroup.procs").read_text())
        self.folder.rmdir()


class Mask:
    """The CPUs that every thread of a process may use."""

    steps = (1, 2, 1)

    def limit(self, pids, cores):
        cpus = sorted(os.sched_getaffinity(0))[:cores]
        for pid in pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)

    def close(self):
        """Nothing is left behind."""


@pytest.fixture(params=[Quota, Mask])
def allowance(request):
    """A way to limit processes; a mask where cgroups are not ours to make."""
    try:
        made = request.param()
    except OSError:
        made = Mask()
    yield made
    made.close()


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
def test_threads_follow_without_a_restart(serve, model_bundle, allowance):
    served = serve("--bundle", str(model_bundle))
    most = figure(served, "edge_engine_threads")
    expected = [answer(served) for _ in range(2)][1]  # the second time from cached prefixes
    found, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            found.append(answer(served))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for cores in allowance.steps:
            allowance.limit(processes(served), cores)
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
def test_where_threads_are_set_or_fixed_they_stay(serve, model_bundle, allowance, settings):
    served = serve("--bundle", str(model_bundle), **settings)
    threads = figure(served, "edge_engine_threads")
    allowance.limit(processes(served), 1)
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
