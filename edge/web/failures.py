"""Error classes -> HTTP statuses and bodies. The only place that knows statuses."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import flask

from edge import errors
from edge.errors import EdgeError, Unavailable
from edge.metrics import Metrics

_log = logging.getLogger("edge.request")

STATUSES: dict[type[EdgeError], int] = {
    errors.RequestError: 400,
    errors.MalformedBody: 400,
    errors.InvalidRequest: 400,
    errors.PromptTooLong: 400,
    errors.MemoryExceeded: 400,
    errors.ModelNotFound: 404,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Unauthorized: 401,
    errors.Unavailable: 503,
    errors.QueueFull: 429,
    errors.NotReady: 503,
    errors.Draining: 503,
    errors.DeadlineExceeded: 504,
    # nginx's status for a client that closed the connection; nobody is there to read it.
    errors.Cancelled: 499,
    errors.EngineFailed: 500,
    errors.StartupError: 500,
}

_REASONS: dict[type[EdgeError], str] = {
    errors.QueueFull: "queue_full",
    errors.PromptTooLong: "too_long",
    errors.MemoryExceeded: "memory",
    errors.Draining: "draining",
    errors.Unauthorized: "unauthorized",
}


def status_of(error: EdgeError) -> int:
    """The HTTP status of an error; 500 for classes without a row of their own."""
    return STATUSES.get(type(error), 500)


def headers_of(error: EdgeError) -> dict[str, str]:
    """Headers that go with an error: `Retry-After` in whole seconds, `WWW-Authenticate`."""
    if isinstance(error, Unavailable):
        return {"Retry-After": str(math.ceil(error.retry_after_s))}
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def openai_body(error: EdgeError) -> dict[str, object]:
    """The error in OpenAI's shape: message, type, param, code."""
    status = status_of(error)
    if status == 429:
        kind = "rate_limit_error"
    else:
        kind = "invalid_request_error" if status < 500 else "server_error"
    param = error.param if isinstance(error, errors.RequestError) else None
    return {"error": {"message": str(error), "type": kind, "param": param, "code": error.code}}


def record(error: EdgeError, operation: str, metrics: Metrics, request_id: str = "") -> None:
    """Count and log a request that was not let in; does nothing where that was done before."""
    if error.is_recorded:
        return
    error.is_recorded = True
    metrics.refused(operation, status_of(error), _REASONS.get(type(error), ""))
    _log.info(
        "request",
        extra={
            "request_id": request_id,
            "operation": operation,
            "code": status_of(error),
            "finish_reason": "error",
            "error": error.code,
        },
    )


def install(
    blueprint: flask.Blueprint,
    metrics: Metrics,
    body: Callable[[EdgeError], dict[str, object]],
    operation: Callable[[], str],
) -> None:
    """Answer every `EdgeError` of the blueprint's routes with `body` under its status."""

    @blueprint.errorhandler(EdgeError)
    def answer(error: EdgeError) -> flask.Response:
        record(error, operation(), metrics, request_id())
        return response(error, body)


def response(error: EdgeError, body: Callable[[EdgeError], dict[str, object]]) -> flask.Response:
    """`body` of the error under its status, with its headers."""
    answer = flask.jsonify(body(error))
    answer.status_code = status_of(error)
    answer.headers.update(headers_of(error))
    return answer


def request_id() -> str:
    """The id of the current request: the client's `X-Request-Id` if sane, else a new one."""
    return str(flask.g.request_id)
