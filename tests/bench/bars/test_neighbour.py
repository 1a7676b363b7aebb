import os
import time
from contextlib import contextmanager
from pathlib import Path

from tests.bench import processes
from tests.bench.bars import neighbour
from tests.bench.bars.fakes import OFF, ON, FakeSide, FakeStage, row
from tests.bench.bars.row import MET, MISSED, UNMEASURED


@contextmanager
def nobody():
    yield


def test_the_share_of_the_idle_speed_is_held_against_the_peers(monkeypatch):
    monkeypatch.setattr(neighbour, "busy", nobody)
    ours = FakeSide("Phial", (100.0, 60.0))
    peers = [FakeSide(ON, (200.0, 20.0)), FakeSide(OFF, (100.0, 40.0))]
    found = neighbour.measure(FakeStage(ours, peers))
    (judged,) = found.rows
    assert OFF in judged.measure
    assert judged.found.startswith("1.50x (1.50 to 1.50)")
    assert "Phial 60%" in judged.found
    assert (judged.bar, judged.verdict) == (">= 1x", MET)
    assert found.samples[neighbour.WHAT][ON] == [0.1] * 3


def test_a_peer_that_keeps_more_of_its_speed_wins(monkeypatch):
    monkeypatch.setattr(neighbour, "busy", nobody)
    ours, peer = FakeSide("Phial", (100.0, 40.0)), FakeSide(ON, (10.0, 9.0))
    assert neighbour.measure(FakeStage(ours, [peer])).rows[0].verdict == MISSED


def test_without_a_peer_the_share_is_shown(monkeypatch):
    monkeypatch.setattr(neighbour, "busy", nobody)
    found = row(neighbour.measure(FakeStage(FakeSide("Phial", (100.0, 60.0)))), "beside")
    assert found.verdict == UNMEASURED
    assert "Phial 60%" in found.found


def test_the_neighbour_keeps_busy_and_leaves():
    with neighbour.busy():
        (child,) = set(processes.family(os.getpid())) - {os.getpid()}
        while processes.cpu_s([child]) < 0.05:
            time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()
