import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.bench import sides
from tests.bench.client import Address, BadAnswer, Stream, parsed

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"choices": [], "usage": {"completion_tokens": 3}}


def chunk(data: bytes) -> bytes:
    return f"{len(data):X}\r\n".encode() + data + b"\r\n"


def event(text: str, finish: str | None = None) -> bytes:
    data = {"choices": [{"text": text, "finish_reason": finish}], "usage": None}
    return chunk(f"data: {json.dumps(data)}\n\n".encode())


def ending() -> bytes:
    return (
        chunk(f"data: {json.dumps(USAGE)}\n\n".encode()) + chunk(b"data: [DONE]\n\n") + chunk(b"")
    )


def test_each_event_has_the_moment_of_the_part_that_completed_it():
    whole = event("b")
    parts = [HEAD + event("a"), whole[:20], whole[20:] + event("c", "length"), ending()]
    found = parsed(parts, [1.0, 2.0, 3.0, 4.0])
    assert found == Stream(moments=(1.0, 3.0, 3.0), tokens=3, finish="length")
    assert found.first_s == 1.0
    assert found.gaps_s == [2.0, 0.0]
    assert found.tokens_per_event == 1.0


def test_an_event_without_text_counts_for_the_finish_alone():
    parts = [HEAD + event("a") + event("b"), event("", "stop"), ending()]
    found = parsed(parts, [1.0, 2.0, 3.0])
    assert found.moments == (1.0, 1.0)
    assert found.finish == "stop"
    assert found.tokens_per_event == 1.5


def test_what_a_prompt_found_in_a_cache_is_told():
    usage = {"completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 7}}
    last = chunk(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
    assert parsed([HEAD + event("a"), last, chunk(b"")], [1.0, 2.0, 3.0]).cached_tokens == 7
    assert parsed([HEAD + event("a"), ending()], [1.0, 2.0]).cached_tokens == 0


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_where_the_parts_are_cut_changes_no_count(cut):
    raw = HEAD + event("data: x\\n") + event("\n\ndata: y") + event("z", "length") + ending()
    parts = [raw[start : start + cut] for start in range(0, len(raw), cut)]
    found = parsed(parts, [float(i) for i in range(len(parts))])
    assert len(found.moments) == found.tokens == 3
    assert list(found.moments) == sorted(found.moments)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"HTTP/1.1 404 NOT FOUND\r\n\r\n{}", "404"),
        (HEAD + chunk(b'data: {"error": {"code": "engine_failed"}}\n\n'), "engine_failed"),
        (HEAD + ending(), "0 events with text"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_measurement_is_refused(raw, message):
    with pytest.raises(BadAnswer, match=message):
        parsed([raw], [1.0])


class Handler(BaseHTTPRequestHandler):
    """Answers what the class attributes say, and keeps the last body."""

    protocol_version = "HTTP/1.1"
    status, answer = 200, b""
    bodies: list[dict[str, object]]

    def do_POST(self):
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass


@contextmanager
def server(status: int, answer: bytes) -> Iterator[tuple[Address, list[dict[str, object]]]]:
    handler = type("Once", (Handler,), {"status": status, "answer": answer, "bodies": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Address("127.0.0.1", running.server_address[1]), handler.bodies
        running.shutdown()


def test_unary_requests_are_timed_one_by_one():
    with server(200, b"{}") as (address, bodies):
        spent = address.unary([{"prompt": [1]}, {"prompt": [2]}])
    assert bodies == [{"prompt": [1]}, {"prompt": [2]}]
    assert len(spent) == 2
    assert min(spent) > 0


def test_a_refused_unary_request_says_why():
    with server(429, b"the queue is full") as (address, _), pytest.raises(BadAnswer, match="full"):
        address.unary([{}])


def test_streams_come_from_the_appliance_itself(tmp_path):
    address = Address("127.0.0.1", sides.free_port())
    command = [sys.executable, "-m", "edge", "--scripted", "echo"]
    environment = {"EDGE_HOST": address.host, "EDGE_PORT": str(address.port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=sides.ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        while not sides.is_ready(address):
            assert process.poll() is None, (tmp_path / "log").read_text()
        found = address.streams([{"prompt": "one two three", "max_tokens": 64}] * 3)
        with pytest.raises(BadAnswer, match="400"):
            address.stream({"prompt": "one", "max_tokens": -1})
    finally:
        process.terminate()
        process.wait()
    assert len(found) == 3
    assert all(stream.tokens >= len(stream.moments) > 1 for stream in found)
    assert all(stream.finish in ("stop", "length") for stream in found)
