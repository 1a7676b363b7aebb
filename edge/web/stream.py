"""Bodies in, event streams out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flask
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from edge.answer import Generation
from edge.errors import BodyTooLarge, EdgeError, InvalidRequest
from edge.generation import Delta
from edge.protocol import sse
from edge.web.departure import Departures

_EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    # nginx would hold small events back.
    "X-Accel-Buffering": "no",
}


def read_body(limit_bytes: int) -> bytes:
    """The body of the current request, chunked or not.

    Raises `BodyTooLarge` above `limit_bytes`, `InvalidRequest` where it ends early.
    """
    # Werkzeug cuts a chunked body off at its limit without a word; one byte more shows it.
    flask.request.max_content_length = limit_bytes + 1
    try:
        body = flask.request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"the body is larger than {limit_bytes} bytes") from None
    except ClientDisconnected:
        raise InvalidRequest("the body ended before its announced length") from None
    except OSError:
        raise InvalidRequest("the body did not arrive in time") from None
    if len(body) > limit_bytes:
        raise BodyTooLarge(f"the body is larger than {limit_bytes} bytes")
    return body


def answer_in_pieces(
    generation: Generation,
    departures: Departures,
    write: Callable[[Iterator[Delta]], Iterable[dict[str, Any]]],
    failure: Callable[[EdgeError], dict[str, Any]],
) -> flask.Response:
    """Stream what `write` makes of the deltas, each chunk an event.

    The reply starts once the first delta is there: what goes wrong before that is raised, and
    has its HTTP status; later it is one last event, with the body `failure`.
    """
    with departures.watch(generation.cancel):
        deltas = iter(generation)
        begun = itertools.chain(list(itertools.islice(deltas, 1)), deltas)
    return sse_response(generation, _events(write(begun), failure), departures)


def sse_response(
    generation: Generation, chunks: Iterable[bytes], departures: Departures
) -> flask.Response:
    """Stream `chunks`, which iterate over `generation`; a client that leaves stops it."""
    end_watch = departures.start(generation.cancel)
    response = flask.Response(chunks, headers=_EVENT_STREAM)
    response.call_on_close(end_watch)
    response.call_on_close(generation.close)
    return response


def _events(
    chunks: Iterable[dict[str, Any]], failure: Callable[[EdgeError], dict[str, Any]]
) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            yield sse.event(chunk)
    except EdgeError as error:
        yield sse.event(failure(error))
    else:
        yield sse.DONE
