"""gunicorn's settings follow from ours."""

from __future__ import annotations

import dataclasses

import pytest

from edge.config import Settings
from edge.gunicorn_conf import JsonLogger, Server
from edge.worker import Worker


def configured(**settings):
    return Server(Settings(**settings), lambda: None).cfg


def test_one_process_and_a_thread_for_everyone_who_may_be_inside():
    found = configured(slots=3, queue=5)
    assert found.workers == 1
    assert found.worker_class is Worker
    # Those who generate, those who wait, and spares for health checks and refusals.
    assert found.threads > 3 + 5
    assert found.worker_connections > found.threads


@pytest.mark.parametrize(
    ("host", "bind"), [("0.0.0.0", "0.0.0.0:9"), ("::1", "[::1]:9"), ("name", "name:9")]
)
def test_the_address(host, bind):
    assert configured(host=host, port=9).bind == [bind]


@pytest.mark.parametrize("drain_s", [0.0, 0.5, 30.0])
def test_gunicorn_is_more_patient_than_the_drain(drain_s):
    assert configured(drain_s=drain_s).graceful_timeout > drain_s


def test_nothing_of_gunicorn_listens_or_logs_by_itself():
    found = configured()
    assert found.control_socket_disable
    assert found.logger_class is JsonLogger
    assert found.pidfile is None
    assert found.accesslog is None
    assert not found.daemon


def test_every_setting_has_a_value_that_gunicorn_takes():
    largest = dataclasses.replace(
        Settings(), slots=256, queue=10_000, drain_s=3600.0, deadline_s=86_400.0, port=65535
    )
    assert Server(largest, lambda: None).cfg.threads > 10_000


def test_the_appliance_is_wired_when_the_worker_loads():
    started = []

    class App:
        wsgi = staticmethod(lambda *_: [])

        def start(self):
            started.append(self)

    server = Server(Settings(), App)
    assert started == []
    assert server.load() is App.wsgi
    assert started == [server.wired]
