"""Three appliances are replaced one after the other, under load: nobody notices."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from . import load, proxy
from .conftest import EXIT_S, Served
from .traffic import eventually, figures, get

LEAVE_S = 3  # HAProxy sees within 2 s that /readyz says no
PRE_STOP_S = 0.5  # for the list to be known everywhere
OLD, NEW = ("a", "b", "c"), ("d", "e", "f")
KINDS = ("whole", "stream", "long stream")


@dataclass
class Rolled:
    """What a replacement left behind."""

    callers: list[load.Caller]
    old: dict[str, Served]
    new: dict[str, Served] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self):
        return [failure for caller in self.callers for failure in caller.failures]


def replace(rolled, front, start):
    """Successor up, old one off the list, SIGTERM, next: as Kubernetes does it."""
    for name, successor in zip(OLD, NEW, strict=True):
        rolled.new[successor] = start()
        rolled.new[successor].wait_until_ready()
        front.add(successor, rolled.new[successor].port)
        front.remove(name)
        time.sleep(PRE_STOP_S)
        rolled.old[name].process.terminate()
        rolled.statuses[name] = rolled.old[name].process.wait(EXIT_S)
        assert rolled.failures == []


@pytest.fixture(scope="module")
def rolled(serve, model_bundle, tmp_path_factory):
    """The three have been replaced while callers asked without a pause."""

    def start():
        settings = {"leave_s": LEAVE_S, "drain_s": 20, "threads": 1, "slots": 8}
        return serve("--bundle", str(model_bundle), await_ready=False, **settings)

    old = {name: start() for name in OLD}
    for served in old.values():
        served.wait_until_ready()
    eos_ids = json.loads((model_bundle / "manifest.json").read_text())["eos_ids"]
    asks = load.asks(eos_ids)
    ports = {name: served.port for name, served in old.items()}
    with proxy.running(tmp_path_factory.mktemp("haproxy"), ports) as front:
        ways = {"request": front.by_request, "connection": front.by_connection}
        callers = [
            load.Caller(f"{kind} by {way}", port, asks[kind])
            for way, port in ways.items()
            for kind in KINDS
        ]
        rolled = Rolled(callers, old)
        try:
            eventually(lambda: all(caller.answers for caller in callers))
            replace(rolled, front, start)
            before = [caller.answers for caller in callers]
            eventually(lambda: all(c.answers > n for c, n in zip(callers, before, strict=True)))
        finally:
            for caller in callers:
                caller.stop()
        yield rolled
    for served in rolled.new.values():
        served.process.terminate()  # all at once: each takes its time to leave


def test_no_request_fails(rolled):
    assert rolled.failures == []
    assert all(caller.answers > 3 for caller in rolled.callers)


def test_the_old_ones_end_in_order(rolled):
    assert rolled.statuses == dict.fromkeys(OLD, 0)
    assert all("Traceback" not in served.log for served in rolled.old.values())


def under_way(served):
    """Requests that had begun when the appliance was told to go, and were answered whole."""
    entries = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]
    at = [datetime.fromisoformat(entry["time"]) for entry in entries]
    told = at[[entry["message"] for entry in entries].index("Handling signal: term")]
    return sum(
        ended - timedelta(seconds=entry["duration_s"]) < told < ended
        for entry, ended in zip(entries, at, strict=True)
        if entry["message"] == "request" and entry["code"] == 200 and not entry["error"]
    )


def test_answers_were_under_way_when_the_old_ones_were_told_to_go(rolled):
    """Else nothing was shown."""
    assert sum(under_way(served) for served in rolled.old.values()) > 0


def test_the_new_ones_have_the_work(rolled):
    for served in rolled.new.values():
        assert get(served, "/readyz")[0] == 200
        answered = {name[0]: n for name, n in figures(served).items() if "200" in name}
        assert answered["edge_requests_total"] > 0


def test_each_of_the_old_ones_had_work(rolled):
    assert all(served.log.count('"message": "request"') > 3 for served in rolled.old.values())
