"""Requests over bare sockets, and what the metrics say of them."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator

from prometheus_client import parser

from .conftest import Served

PATIENCE_S = 30.0


def get(served: Served, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Status, body and headers of a GET on a connection of its own."""
    return call(served, "GET", path, None, **headers)


def post(served: Served, path: str, body: object, **headers: str) -> tuple[int, bytes, object]:
    """Status, body and headers of a POST of JSON on a connection of its own."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(served, "POST", path, raw, **{"Content-Type": "application/json", **headers})


def call(
    served: Served, method: str, path: str, body: bytes | None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Status, body and headers of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def figures(served: Served) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics: (name, label, value, label, value ...) to figure."""
    _, body, _ = get(served, "/metrics")
    return {
        (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair)): (
            sample.value
        )
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def figure(served: Served, name: str, *labels: str) -> float:
    """One figure, labels as `label, value` in the order of their names; 0 where there is none."""
    return figures(served).get((name, *labels), 0.0)


def eventually(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait for `condition`; fails after `timeout_s` seconds."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)


def is_idle(served: Served) -> bool:
    """Whether nothing runs and nothing waits."""
    found = figures(served)
    return found[("edge_requests_running",)] == found[("edge_requests_waiting",)] == 0


def request_bytes(path: str, body: object, **headers: str) -> bytes:
    """A POST of JSON as it goes over the wire."""
    raw = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(raw)}", "", ""]).encode() + raw


def connect(served: Served) -> socket.socket:
    """A connection that gives up after a while."""
    return socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S)


class Stream:
    """A streamed answer, read event by event."""

    def __init__(self, served: Served, path: str, body: dict[str, object]) -> None:
        self.connection = connect(served)
        self.connection.sendall(request_bytes(path, {**body, "stream": True}))
        self.response = http.client.HTTPResponse(self.connection)
        self.response.begin()

    def events(self) -> Iterator[str]:
        """The data of each event as it comes."""
        for line in self.response:
            if line.startswith(b"data: "):
                yield line.removeprefix(b"data: ").decode().rstrip("\n")

    def close(self) -> None:
        """Leave, as a client does that crashes."""
        self.response.close()
        self.connection.close()
