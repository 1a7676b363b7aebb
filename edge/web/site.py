"""The WSGI application: every blueprint, the guard in front, and what no route takes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

from edge.web import access, failures, openai, operations, scoring
from edge.web.appliance import Appliance

_REQUEST_ID_MOST = 128


class _Json(DefaultJSONProvider):
    """Keys in the order in which they were written."""

    sort_keys = False


def assemble(appliance: Appliance, keys: Sequence[bytes]) -> flask.Flask:
    """All routes; with `keys`, those that use the model demand one of them."""
    application = flask.Flask("edge", static_folder=None)
    application.json = _Json(application)
    guard = access.guard(keys)
    for module in (openai, scoring):
        routes = module.blueprint(appliance)
        routes.before_request(guard)
        application.register_blueprint(routes)
    application.register_blueprint(scoring.health(appliance))
    application.register_blueprint(operations.blueprint(appliance))
    application.before_request(_identify)
    application.after_request(_name_request)
    application.register_error_handler(HTTPException, _unrouted)
    return application


def _identify() -> None:
    given = flask.request.headers.get("X-Request-Id", "")
    is_sane = 0 < len(given) <= _REQUEST_ID_MOST and given.isascii() and given.isprintable()
    flask.g.request_id = given if is_sane else uuid.uuid4().hex


def _name_request(response: flask.Response) -> flask.Response:
    response.headers["X-Request-Id"] = failures.request_id()
    return response


def _unrouted(error: HTTPException) -> flask.Response:
    """Unknown paths and methods outside of /v1, in the words of MLflow's server."""
    response = flask.jsonify({"detail": error.name})
    response.status_code = error.code or 500
    response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
    return response
