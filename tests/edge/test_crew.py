"""Threads follow what is wanted, once it is sure, where memory and the engine allow."""

from __future__ import annotations

import threading
import time

import pytest

from edge import crew, memory
from edge.crew import Crew
from edge.errors import EngineFailed


class Bench:
    """A crew, what is wanted of it, and the numbers that its engine was given."""

    def __init__(self, *, is_affordable=True, fails=False):
        self.wanted = 2
        self.is_affordable = is_affordable
        self.fails = fails
        self.given = []
        self.crew = Crew(
            2,
            self.rethread,
            wanted=lambda: self.wanted,
            is_affordable=lambda: self.is_affordable,
        )

    def rethread(self, threads):
        self.given.append(threads)
        if self.fails:
            raise EngineFailed("no")

    def look(self, *wanted):
        for self.wanted in wanted:
            self.crew.look()
        return self.given


@pytest.mark.parametrize(
    ("looks", "given", "threads"),
    [
        ([2, 2, 2], [], 2),
        ([1], [], 2),  # a quota without its period yet
        ([1, 1], [1], 1),
        ([1, 1, 1, 1], [1], 1),
        ([1, 2, 1, 2, 1], [], 2),
        ([1, 1, 2, 2], [1, 2], 2),
        ([1, 3, 3, 3], [3], 3),
        ([1, 1, 2, 1, 2, 2], [1, 2], 2),
    ],
)
def test_a_number_that_was_seen_twice_is_followed(looks, given, threads):
    bench = Bench()
    assert bench.look(*looks) == given
    assert bench.crew.threads == threads


def test_where_memory_is_short_the_engine_is_left_alone(caplog):
    bench = Bench(is_affordable=False)
    assert bench.look(1, 1, 1, 1) == []
    assert bench.crew.threads == 2
    assert [record.message for record in caplog.records] == [
        "no memory to follow the CPU quota: restart to do so"
    ]


def test_what_was_refused_is_tried_again_after_another_change():
    bench = Bench(is_affordable=False)
    bench.look(1, 1)
    bench.is_affordable = True
    assert bench.look(1, 1) == []
    assert bench.look(2, 1, 1) == [1]


def test_an_engine_that_fails_to_follow_keeps_its_number(caplog):
    bench = Bench(fails=True)
    assert bench.look(1, 1, 1, 1) == [1]
    assert bench.crew.threads == 2
    assert caplog.records[-1].message == "the engine cannot follow the CPU quota"


def test_the_log_tells_of_a_change(caplog):
    caplog.set_level("INFO")
    Bench().look(1, 1)
    (record,) = caplog.records
    assert (record.message, record.wanted) == ("the engine follows the CPU quota", 1)


def test_memory_is_given_back_once_the_old_weights_are_gone(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, "give_back", lambda: calls.append(1))
    bench = Bench()
    bench.look(1, 1)
    assert calls == []
    bench.look(1, 1, 1)
    assert calls == [1]


def test_its_thread_looks_by_itself_and_ends(monkeypatch):
    monkeypatch.setattr(crew, "INTERVAL_S", 0.01)
    bench = Bench()
    bench.crew.start()
    bench.wanted = 1
    deadline = time.monotonic() + 10
    while not bench.given and time.monotonic() < deadline:
        time.sleep(0.005)
    assert bench.given == [1]
    bench.crew.stop(5)
    assert "crew" not in [thread.name for thread in threading.enumerate()]
    bench.crew.stop(5)


def test_a_crew_that_was_never_started_can_be_stopped():
    Bench().crew.stop(0)
