"""From a model to a backend: warm-up, memory for the KV cache, and what keeps it from starting."""

from __future__ import annotations

import os
import time

import pytest

from edge import cores, cpu, crew, loaders, loading
from edge.bundle import Defaults
from edge.config import Settings
from edge.engine.base import Limits
from edge.engine.scripted import EOS, ByteTokenizer, EchoEngine
from edge.errors import Draining, EngineFailed, StartupError
from edge.loaders import Loaded
from edge.metrics import Metrics

GIB = 1 << 30


def start(engine, **settings):
    metrics = Metrics("m")
    backend = loading.start(
        lambda: Loaded(engine, ByteTokenizer()), Defaults(), Settings(**settings), metrics
    )
    backend.queue.drain()
    backend.loop.abort(Draining("over"))
    backend.loop.stop(5)
    return backend, metrics


def value(metrics, name):
    return metrics.registry.get_sample_value(name)


@pytest.fixture
def memory(monkeypatch):
    """Sets the memory limit and what of it is resident already."""

    def set_to(limit, resident):
        monkeypatch.setattr(cpu, "memory_limit_bytes", lambda *_: limit)
        monkeypatch.setattr(cpu, "resident_bytes", lambda: resident)

    return set_to


def test_a_token_came_out_before_it_is_ready():
    engine = EchoEngine()
    start(engine)
    assert engine.steps == 2
    assert engine.open_rows == 0


def test_the_rules_come_from_model_and_settings():
    backend, metrics = start(EchoEngine(), max_rows=7, deadline_s=9.0, threads=3)
    assert (backend.rules.max_rows, backend.rules.deadline_s) == (7, 9.0)
    assert backend.rules.limits.vocab_size == 262
    assert value(metrics, "edge_engine_threads") == 3
    assert value(metrics, "edge_cpu_quota_cores") > 0
    assert value(metrics, "edge_model_load_seconds") >= 0
    assert value(metrics, "edge_requests_running") == 0
    assert value(metrics, "edge_cpu_throttled_seconds_total") >= 0


def test_threads_follow_the_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(cpu, "quota_cores", lambda _: 3.9)
    monkeypatch.setattr(cores, "single", lambda cpus, _: cpus)
    assert loaders.engine_threads(Settings()) == 4
    assert loaders.engine_threads(Settings(threads=1)) == 1


class Followed:
    """An engine whose threads can be changed, on a machine whose quota can be."""

    def __init__(self, monkeypatch):
        self.wanted = 2
        self.given = []
        self.looks = 0
        monkeypatch.setattr(crew, "INTERVAL_S", 0.005)
        monkeypatch.setattr(cpu, "engine_threads", self.look)

    def look(self, *_):
        self.looks += 1
        return self.wanted

    def start(self, rethread, **settings):
        metrics = Metrics("m")
        engine = EchoEngine(context_length=1000, kv_bytes_per_token=1 << 20)
        loaded = Loaded(engine, ByteTokenizer(), rethread=rethread)
        backend = loading.start(lambda: loaded, Defaults(), Settings(slots=1, **settings), metrics)
        return backend, metrics

    def wait(self, looks=6):
        until = self.looks + looks
        deadline = time.monotonic() + 10
        while self.looks < until and time.monotonic() < deadline:
            time.sleep(0.005)


@pytest.fixture
def followed(monkeypatch):
    return Followed(monkeypatch)


def test_a_quota_that_changes_is_followed(followed, memory):
    memory(64 * GIB, GIB)
    backend, metrics = followed.start(followed.given.append)
    assert value(metrics, "edge_engine_threads") == 2
    followed.wanted = 1
    followed.wait()
    assert followed.given == [1]
    assert value(metrics, "edge_engine_threads") == 1
    backend.stop(5)


@pytest.mark.parametrize(("limit_gib", "threads"), [(6, 2), (7, 1)])
def test_it_is_not_where_the_weights_would_not_fit_twice(
    followed, monkeypatch, caplog, limit_gib, threads
):
    """Two GiB of them, one that is resident besides, one for the cache, a tenth kept back."""
    resident = iter([GIB])  # before the load; then with the weights
    monkeypatch.setattr(cpu, "memory_limit_bytes", lambda *_: limit_gib * GIB)
    monkeypatch.setattr(cpu, "resident_bytes", lambda: next(resident, 3 * GIB))
    backend, metrics = followed.start(followed.given.append)
    followed.wanted = 1
    followed.wait()
    assert value(metrics, "edge_engine_threads") == threads
    refusal = "no memory to follow the CPU quota: restart to do so"
    assert (refusal in caplog.messages) == (threads == 2)
    backend.stop(5)


@pytest.mark.parametrize("kind", ["set", "fixed"])
def test_threads_that_are_set_or_cannot_change_stay(followed, memory, kind):
    memory(64 * GIB, GIB)
    settings = {"threads": 2} if kind == "set" else {}
    backend, metrics = followed.start(followed.given.append if settings else None, **settings)
    before = followed.looks
    followed.wanted = 1
    time.sleep(0.1)
    assert (followed.given, followed.looks) == ([], before)
    assert value(metrics, "edge_engine_threads") == 2
    backend.stop(5)


def test_the_cache_is_bounded_by_what_the_slots_can_use(memory):
    memory(64 * GIB, GIB)
    backend, metrics = start(EchoEngine(context_length=1000, kv_bytes_per_token=1024), slots=3)
    assert backend.rules.kv_limit_bytes == 3 * 1000 * 1024
    assert value(metrics, "edge_kv_cache_limit_bytes") == 3 * 1000 * 1024


def test_the_cache_is_bounded_by_the_memory_that_is_left(memory):
    memory(10 * GIB, 4 * GIB)
    backend, _ = start(EchoEngine(context_length=1 << 20, kv_bytes_per_token=1 << 20))
    assert backend.rules.kv_limit_bytes == pytest.approx(5 * GIB, abs=2)


def test_small_machines_keep_some_megabytes_free(memory):
    memory(256 << 20, 100 << 20)
    backend, _ = start(EchoEngine(context_length=1 << 20, kv_bytes_per_token=1 << 10))
    assert backend.rules.kv_limit_bytes == (256 - 100 - 64) << 20


def test_the_setting_wins(memory):
    memory(10 * GIB, 4 * GIB)
    engine = EchoEngine(context_length=1000, kv_bytes_per_token=1024)
    assert start(engine, kv_limit=1 << 20)[0].rules.kv_limit_bytes == 1 << 20


@pytest.mark.parametrize("resident", [1 << 30, 2 << 30])
def test_no_memory_left_is_a_bad_start(memory, resident):
    """Else each request would be told to ask for fewer tokens, down to none."""
    memory(1 << 30, resident)
    with pytest.raises(StartupError, match="KV cache"):
        start(EchoEngine(context_length=1000, kv_bytes_per_token=1024))


def test_a_limit_of_a_few_tokens_is_a_bad_start():
    with pytest.raises(StartupError, match="EDGE_KV_LIMIT"):
        start(EchoEngine(kv_bytes_per_token=1 << 20), kv_limit=1 << 20)


@pytest.mark.parametrize("kind", ["open", "advance", "step"])
def test_a_model_that_gives_no_token_is_a_bad_start(kind):
    class Dead(EchoEngine):
        def open(self, *arguments, **named):
            if kind == "open":
                raise EngineFailed("no room")
            return super().open(*arguments, **named)

        def advance(self, rows):
            if kind == "advance":
                raise EngineFailed("no kernel")
            return super().advance(rows)

    engine = Dead(fail_after=1 if kind == "step" else None)
    with pytest.raises(StartupError, match="gives no token"):
        start(engine)
    assert engine.open_rows == 0


def test_what_the_loader_says_is_passed_on():
    def load():
        raise StartupError(["model: broken", "model: and more"])

    with pytest.raises(StartupError) as caught:
        loading.start(load, Defaults(), Settings(), Metrics("m"))
    assert caught.value.problems == ["model: broken", "model: and more"]


def test_the_load_time_is_that_of_the_loader():
    def load():
        time.sleep(0.05)
        return Loaded(EchoEngine(), ByteTokenizer())

    metrics = Metrics("m")
    backend = loading.start(load, Defaults(), Settings(), metrics)
    backend.loop.stop(5)
    assert value(metrics, "edge_model_load_seconds") >= 0.05


@pytest.mark.parametrize(
    ("kv_limit", "limit", "expected"),
    [
        (None, 64 * GIB, 4096),  # the context
        (None, GIB, (GIB - (GIB // 10)) // (1 << 20)),  # what memory would hold
        (100 << 20, 64 * GIB, 100),  # what the setting allows
        (1 << 20, 64 * GIB, 16),  # never less than the least that is served
    ],
)
def test_rows_are_reserved_for_what_can_be_let_in(memory, kv_limit, limit, expected):
    memory(limit, 0)
    limits = Limits(4096, frozenset({EOS}), 300, kv_bytes_per_token=1 << 20)
    assert loaders._row_tokens(limits, Settings(kv_limit=kv_limit)) == expected


def test_rows_of_unknown_cost_are_reserved_for_the_context():
    limits = Limits(4096, frozenset({EOS}), 300, kv_bytes_per_token=0)
    assert loaders._row_tokens(limits, Settings()) == 4096
