import os
import subprocess
import sys
import time

from tests.bench import processes

NESTED = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
BUSY = "s = sum(i * i for i in range(3_000_000)); print(s, flush=True); input()"
HUNGRY = "b = bytearray(64 << 20); print(len(b), flush=True); del b; input()"


def start(code):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_family_is_a_process_and_its_descendants():
    with start(NESTED) as parent:
        while len(found := processes.family(parent.pid)) < 2:
            time.sleep(0.01)
        parent.stdin.close()
    assert found[0] == parent.pid
    assert len(found) == 2


def test_memory_tells_what_is_resident_and_what_was():
    with start(HUNGRY) as child:
        child.stdout.readline()
        time.sleep(0.05)
        found = processes.memory(child.pid)
        child.stdin.close()
    assert found.peak_bytes >= 64 << 20
    assert 0 < found.pss_bytes <= found.rss_bytes <= found.peak_bytes


def test_cpu_time_is_that_of_the_processes_named():
    with start(BUSY) as busy, start("input()") as idle:
        busy.stdout.readline()
        spent_s = processes.cpu_s([busy.pid])
        both_s = processes.cpu_s([busy.pid, idle.pid])
        busy.stdin.close()
        idle.stdin.close()
    assert spent_s > 0.02
    assert both_s >= spent_s


def test_the_machine_has_used_at_least_what_this_process_has():
    assert 0 < processes.own_cpu_s() <= processes.machine_cpu_s()
    assert processes.own_cpu_s() >= processes.cpu_s([os.getpid()]) - 1
