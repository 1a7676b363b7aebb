"""MLflow's scoring protocol: `POST /invocations`, `GET /ping`, `/health` and `/version`."""

from __future__ import annotations

import dataclasses
import functools
import time
import uuid
from collections.abc import Callable
from contextlib import closing

import flask

from edge.errors import NotReady, UnsupportedMedia
from edge.protocol import scoring, scoring_reply
from edge.protocol.scoring import Invocation
from edge.protocol.scoring_reply import Envelope
from edge.service import collect
from edge.web import failures, stream
from edge.web.appliance import Appliance

OPERATION = "invocations"
# Every method is routed here, so that a wrong one gets the answer of MLflow's server.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
View = Callable[[], flask.Response]


def blueprint(appliance: Appliance) -> flask.Blueprint:
    """`/invocations`; a trailing slash names the same resource, here and below."""
    routes = flask.Blueprint("scoring", __name__)

    def invocations() -> flask.Response:
        return _answer(appliance)

    _route(routes, "/invocations", "POST", invocations)
    failures.install(routes, appliance.metrics, scoring_reply.failure, lambda: OPERATION)
    _install_media_errors(routes, appliance)
    return routes


def health(appliance: Appliance) -> flask.Blueprint:
    """`/ping`, `/health` and `/version`, which take no API key: probes have none."""
    routes = flask.Blueprint("scoring_health", __name__)

    def ping() -> flask.Response:
        if not appliance.is_ready():
            error = NotReady("the model is still being loaded")
            return failures.response(error, scoring_reply.failure)
        return _json("\n")

    def version() -> flask.Response:
        return _json(scoring.MLFLOW_VERSION)

    _route(routes, "/ping", "GET", ping)
    _route(routes, "/health", "GET", ping)
    _route(routes, "/version", "GET", version)
    return routes


def _route(routes: flask.Blueprint, path: str, method: str, view: View) -> None:
    def dispatch() -> flask.Response:
        if flask.request.method == method:
            return view()
        response = flask.jsonify({"detail": "Method Not Allowed"})
        response.status_code = 405
        response.headers["Allow"] = method
        return response

    # The automatic OPTIONS and HEAD of flask would answer 200.
    routes.add_url_rule(
        path,
        endpoint=path.strip("/"),
        view_func=dispatch,
        methods=METHODS,
        strict_slashes=False,
        provide_automatic_options=False,
    )


def _install_media_errors(routes: flask.Blueprint, appliance: Appliance) -> None:
    @routes.errorhandler(UnsupportedMedia)
    def refuse(error: UnsupportedMedia) -> flask.Response:
        failures.record(error, OPERATION, appliance.metrics, failures.request_id())
        status = failures.status_of(error)
        return flask.Response(str(error), status, content_type="text/plain; charset=utf-8")


def _answer(appliance: Appliance) -> flask.Response:
    body = stream.read_body(appliance.settings.max_body_bytes)
    content_type = flask.request.headers.get("Content-Type")
    invocation = scoring.parse(body, content_type, appliance.manifest.signature)
    envelope = _envelope(appliance)
    if not invocation.rows:
        return _json(scoring_reply.predictions(envelope, invocation, (), ()))
    request = appliance.to_request(invocation)
    request = dataclasses.replace(request, request_id=failures.request_id())
    generation = appliance.service.generate(request)
    if _is_streamed(invocation, envelope):
        write = functools.partial(
            scoring_reply.chunks, envelope, counts=lambda: generation.usage_by_prompt
        )
        return stream.answer_in_pieces(
            generation, appliance.departures, write, scoring_reply.failure
        )
    with closing(generation), appliance.departures.watch(generation.cancel):
        completion = collect(generation)
    choices, counts = completion.choices, generation.usage_by_prompt
    return _json(scoring_reply.predictions(envelope, invocation, choices, counts))


def _is_streamed(invocation: Invocation, envelope: Envelope) -> bool:
    """`stream` is a column of the `llm/v1` signatures.

    For a prompt model it is a name that MLflow's server ignores: a client has to accept one too.
    """
    accepted = flask.request.accept_mimetypes
    accepts = envelope.kind != "prompt" or "text/event-stream" in accepted.values()
    return invocation.wants_stream and accepts


def _envelope(appliance: Appliance) -> Envelope:
    manifest, signature = appliance.manifest, appliance.manifest.signature
    created = int(time.time())
    return Envelope(str(uuid.uuid4()), created, manifest.name, signature.kind, signature.reply)


def _json(content: str | bytes) -> flask.Response:
    return flask.Response(content, content_type="application/json")
