"""Bodies in, event streams out, without a socket."""

from __future__ import annotations

import io

import flask
import pytest

from edge.errors import BodyTooLarge, InvalidRequest
from edge.web import stream


def read(body, limit, **environ):
    application = flask.Flask("test")
    with application.test_request_context("/", method="POST", data=body, environ_overrides=environ):
        return stream.read_body(limit)


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_up_to_the_limit(size):
    assert read(b"x" * size, 100) == b"x" * size


@pytest.mark.parametrize("size", [101, 102, 5000])
def test_beyond_the_limit(size):
    with pytest.raises(BodyTooLarge, match="100 bytes"):
        read(b"x" * size, 100)


def test_an_announced_length_beyond_the_limit_is_not_read():
    class Untouched(io.RawIOBase):
        def readinto(self, buffer):
            raise AssertionError("nobody needs this body")

    with pytest.raises(BodyTooLarge):
        read(None, 100, **{"wsgi.input": Untouched(), "CONTENT_LENGTH": "5000"})


@pytest.mark.parametrize("size", [100, 101, 300])
def test_a_body_without_a_length(size):
    """Chunked: the server ends the stream, and nothing says beforehand how long it is."""
    environ = {"wsgi.input": io.BytesIO(b"x" * size), "wsgi.input_terminated": True}
    if size <= 100:
        assert read(None, 100, **environ) == b"x" * size
        return
    with pytest.raises(BodyTooLarge):
        read(None, 100, **environ)


def test_a_body_that_ends_early():
    with pytest.raises(InvalidRequest, match="before its announced length"):
        read(None, 100, **{"wsgi.input": io.BytesIO(b"xx"), "CONTENT_LENGTH": "50"})


def test_a_body_that_does_not_arrive_in_time():
    class Stalled(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise TimeoutError

    with pytest.raises(InvalidRequest):
        read(None, 100, **{"wsgi.input": Stalled(), "CONTENT_LENGTH": "50"})


class Spy:
    """Stands in for a generation and for the watch over its client."""

    def __init__(self):
        self.calls = []

    def cancel(self):
        self.calls.append("cancel")

    def close(self):
        self.calls.append("close")

    def start(self, on_leave):
        self.on_leave = on_leave
        return lambda: self.calls.append("unwatch")


def test_a_stream_is_watched_and_closed_with_its_response():
    spy = Spy()
    with flask.Flask("test").test_request_context("/"):
        response = stream.sse_response(spy, [b"data: 1\n\n", b"data: 2\n\n"], spy)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        assert b"".join(response.response) == b"data: 1\n\ndata: 2\n\n"
        assert spy.calls == []
        spy.on_leave()
        response.close()
    assert spy.calls == ["cancel", "unwatch", "close"]
