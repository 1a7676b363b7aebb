"""Error classes as HTTP: statuses, headers, bodies, and one count each."""

from __future__ import annotations

import logging

import flask
import pytest

from edge import errors
from edge.errors import EdgeError, InvalidRequest, QueueFull
from edge.metrics import Metrics
from edge.web import failures


def family(kind=EdgeError):
    return [kind, *(child for direct in kind.__subclasses__() for child in family(direct))]


@pytest.mark.parametrize("kind", [kind for kind in family() if not kind.__subclasses__()])
def test_every_leaf_has_a_row(kind):
    assert kind in failures.STATUSES


def test_every_row_is_a_class_of_ours():
    assert set(failures.STATUSES) <= set(family())


EXPECTED = {
    "invalid_value": 400,
    "malformed_body": 400,
    "context_length_exceeded": 400,
    "memory_exceeded": 400,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "queue_full": 429,
    "cancelled": 499,
    "engine_failed": 500,
    "not_ready": 503,
    "draining": 503,
    "deadline_exceeded": 504,
}


@pytest.mark.parametrize(("code", "status"), EXPECTED.items())
def test_statuses(code, status):
    (kind,) = [kind for kind in family() if kind.code == code]
    assert failures.STATUSES[kind] == status


def test_a_class_without_a_row_is_a_fault_of_the_server():
    class Odd(EdgeError):
        pass

    assert failures.status_of(Odd("x")) == 500


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (120, "120")])
def test_retry_after_in_whole_seconds_rounded_up(seconds, header):
    found = failures.headers_of(QueueFull("full", retry_after_s=seconds))
    assert found == {"Retry-After": header}


def test_a_missing_key_names_the_scheme():
    assert failures.headers_of(errors.Unauthorized("no")) == {"WWW-Authenticate": "Bearer"}
    assert failures.headers_of(InvalidRequest("no")) == {}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("bad", param="n"), "invalid_request_error"),
        (QueueFull("full"), "rate_limit_error"),
        (errors.EngineFailed("broken"), "server_error"),
        (errors.DeadlineExceeded("late"), "server_error"),
    ],
)
def test_the_shape_of_openai(error, kind):
    body = failures.openai_body(error)
    assert body == {
        "error": {
            "message": str(error),
            "type": kind,
            "param": getattr(error, "param", None),
            "code": error.code,
        }
    }


REASONS = [
    (errors.QueueFull("x"), "queue_full"),
    (errors.PromptTooLong("x"), "too_long"),
    (errors.MemoryExceeded("x"), "memory"),
    (errors.Draining("x"), "draining"),
    (errors.Unauthorized("x"), "unauthorized"),
]


@pytest.mark.parametrize(("error", "reason"), REASONS, ids=[reason for _, reason in REASONS])
def test_refusals_are_counted_by_reason(error, reason):
    metrics = Metrics("m")
    failures.record(error, "chat", metrics, "id")
    sample = metrics.registry.get_sample_value
    assert sample("edge_requests_rejected_total", {"reason": reason}) == 1
    code = str(failures.status_of(error))
    labels = {"operation": "chat", "finish_reason": "error", "code": code}
    assert sample("edge_requests_total", labels) == 1


def test_an_error_is_recorded_once(caplog):
    metrics, error = Metrics("m"), InvalidRequest("bad", param="secret words")
    with caplog.at_level(logging.INFO):
        failures.record(error, "chat", metrics, "r-1")
        failures.record(error, "chat", metrics, "r-1")
    (line,) = caplog.records
    assert (line.request_id, line.operation, line.code, line.error) == (
        "r-1",
        "chat",
        400,
        "invalid_value",
    )
    labels = {"operation": "chat", "finish_reason": "error", "code": "400"}
    assert metrics.registry.get_sample_value("edge_requests_total", labels) == 1


def test_every_error_of_a_blueprint_is_answered():
    metrics = Metrics("m")
    routes = flask.Blueprint("routes", "test")
    failures.install(routes, metrics, failures.openai_body, lambda: "chat")

    @routes.get("/<code>")
    def view(code):
        (kind,) = [kind for kind in family() if kind.code == code]
        raise kind("message")

    application = flask.Flask("test")
    application.register_blueprint(routes)

    @application.before_request
    def identify():
        flask.g.request_id = "r-1"

    client = application.test_client()
    for code, status in EXPECTED.items():
        answer = client.get(f"/{code}")
        assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
        assert ("Retry-After" in answer.headers) == (status in (429, 503))
