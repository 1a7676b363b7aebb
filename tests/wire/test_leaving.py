"""The first seconds after SIGTERM: nobody is refused, everybody is sent elsewhere."""

from __future__ import annotations

import http.client
import time

import pytest

from .test_shutdown import read_in_background
from .traffic import connect, eventually, get, post, request_bytes

PROMPT = {"prompt": "hello"}
LONG = {"prompt": "x" * 30_000, "max_tokens": 30_001}


def is_leaving(served):
    return get(served, "/readyz")[0] == 503


def is_deaf(served):
    """Whether a new connection is refused."""
    try:
        connect(served).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def leaving(serve):
    """An appliance that has been told to go and may take its time, with a connection it keeps."""
    served = serve("--scripted", "echo", leave_s=300)
    kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    kept.request("GET", "/livez")
    assert kept.getresponse().read() == b"ok\n"
    served.process.terminate()
    eventually(lambda: is_leaving(served))
    yield served, kept
    kept.close()
    served.process.kill()


def test_new_requests_are_served(leaving):
    served, _ = leaving
    for _ in range(5):
        status, _, headers = post(served, "/v1/completions", PROMPT)
        assert (status, headers["Connection"]) == (200, "close")


def test_streams_are_served(leaving):
    served, _ = leaving
    reader = read_in_background(served, {"prompt": "x" * 100, "max_tokens": 101})
    assert reader.last() == "[DONE]"


def test_it_lives_and_is_not_ready(leaving):
    served, _ = leaving
    assert get(served, "/livez")[0] == 200
    assert get(served, "/readyz")[0] == 503
    assert b"\nedge_ready 0.0\n" in get(served, "/metrics")[1]


def test_a_kept_connection_has_one_more_answer(leaving):
    _, kept = leaving
    body = b'{"prompt": "hello"}'
    kept.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    answer = kept.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert b"hello" in answer.read()


def test_requests_that_came_together_are_told_that_the_first_is_the_last(leaving):
    served, _ = leaving
    with connect(served) as connection:
        connection.sendall(request_bytes("/v1/completions", PROMPT) * 2)
        connection.settimeout(10)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert b"Connection: close" in answers


def test_it_ends_after_its_leave_and_what_then_runs(serve):
    served = serve("--scripted", "echo", leave_s=0.5, drain_s=60)
    idle = connect(served)
    began_s = time.monotonic()
    served.process.terminate()
    assert served.process.wait(30) == 0
    assert 0.5 <= time.monotonic() - began_s < 10
    assert idle.recv(1) == b""
    assert "Traceback" not in served.log


def test_while_it_drains_new_connections_are_refused_at_once(serve):
    """Left in the kernel's queue, they would hang until the drain is over."""
    served = serve("--scripted", "echo", drain_s=60)
    reader = read_in_background(served, LONG)
    served.process.terminate()
    eventually(lambda: is_deaf(served))
    assert reader.stream.connection.fileno() != -1
    assert reader.last() == "[DONE]"
    assert served.process.wait(30) == 0
    assert "Traceback" not in served.log
