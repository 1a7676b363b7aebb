"""OpenAI's API under /v1: chat completions, completions, models.

The reply starts once the first piece of the answer is there. Whatever goes wrong before that has
its HTTP status, in a stream too; after that an error is one last event of the stream.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import flask

from edge.bundle import Defaults
from edge.errors import UnsupportedMedia
from edge.protocol import (
    fields,
    openai_models,
    openai_request,
    openai_response,
    openai_stream,
)
from edge.protocol.openai_request import Call
from edge.protocol.openai_response import Envelope
from edge.service import collect
from edge.web import failures, openai_routes, stream
from edge.web.appliance import Appliance


@dataclass(frozen=True, slots=True)
class Door:
    """One generating operation: how its bodies are read and its answers written."""

    operation: str
    id_prefix: str
    read: Callable[[object, Defaults, str], Call]
    write: Callable[..., dict[str, Any]]
    write_stream: Callable[..., Iterator[dict[str, Any]]]


CHAT = Door("chat", "chatcmpl-", openai_request.chat, openai_response.chat, openai_stream.chat)
COMPLETION = Door(
    "text_completion",
    "cmpl-",
    openai_request.completion,
    openai_response.completion,
    openai_stream.completion,
)


def blueprint(appliance: Appliance) -> flask.Blueprint:
    """`POST /v1/chat/completions`, `POST /v1/completions`, `GET /v1/models` and `/v1/models/ID`."""
    routes = flask.Blueprint("openai", __name__, url_prefix="/v1")
    created = int(time.time())

    @routes.post("/chat/completions", endpoint=CHAT.operation)
    def chat() -> flask.Response:
        return _answer(appliance, CHAT)

    @routes.post("/completions", endpoint=COMPLETION.operation)
    def completions() -> flask.Response:
        return _answer(appliance, COMPLETION)

    @routes.get("/models")
    def models() -> flask.Response:
        return flask.jsonify(openai_models.listing(appliance.manifest, created))

    @routes.get("/models/<path:name>")
    def model(name: str) -> flask.Response:
        return flask.jsonify(openai_models.model(appliance.manifest, created, name))

    openai_routes.install(routes)
    failures.install(routes, appliance.metrics, failures.openai_body, _operation)
    return routes


def _operation() -> str:
    """The operation of the current request, as the metrics call it."""
    endpoint = (flask.request.endpoint or "").removeprefix("openai.")
    return endpoint if endpoint in (CHAT.operation, COMPLETION.operation) else "models"


def _answer(appliance: Appliance, door: Door) -> flask.Response:
    call = _read(appliance, door)
    openai_models.check(call.model, appliance.manifest)
    envelope = _envelope(appliance, door, call)
    adapter = openai_models.adapter(call.model, appliance.manifest)
    generation = appliance.service.generate(dataclasses.replace(call.request, adapter=adapter))
    if call.stream:
        write = functools.partial(door.write_stream, envelope, include_usage=call.include_usage)
        return stream.answer_in_pieces(
            generation, appliance.departures, write, failures.openai_body
        )
    with closing(generation), appliance.departures.watch(generation.cancel):
        completion = collect(generation)
    return flask.jsonify(door.write(envelope, completion.choices, completion.usage))


def _read(appliance: Appliance, door: Door) -> Call:
    media = flask.request.mimetype
    if media and media != "application/json" and not media.endswith("+json"):
        message = f"Content-Type is {fields.shown(media)}, expected application/json"
        raise UnsupportedMedia(message)
    body = fields.parse(stream.read_body(appliance.settings.max_body_bytes))
    return door.read(body, appliance.manifest.generation, failures.request_id())


def _envelope(appliance: Appliance, door: Door, call: Call) -> Envelope:
    return Envelope(
        id=door.id_prefix + uuid.uuid4().hex,
        created=int(time.time()),
        model=openai_models.answering(call.model, appliance.manifest),
        fingerprint=f"fp_{appliance.bundle_sha256[:10]}" if appliance.bundle_sha256 else None,
        logprobs=call.request.sampling.logprobs,
        metadata=call.metadata,
    )
