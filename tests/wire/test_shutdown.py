"""Signals: what runs may end, what does not end in time is told so, and the exit status is 0."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from contextlib import suppress

import pytest

from .traffic import Stream, connect, eventually, figure, get, post, request_bytes

ENDLESS = {"prompt": "x" * 900_000, "max_tokens": 900_000}


def exit_status(served, timeout_s=30.0):
    return served.process.wait(timeout_s)


class Reader(threading.Thread):
    """Collects the events of a stream to its end."""

    def __init__(self, stream):
        super().__init__()
        self.stream, self.events = stream, []
        self.start()

    def run(self):
        # A stream that is cut off ends here too; what came last is for the test to judge.
        with suppress(OSError, http.client.HTTPException):
            self.events.extend(self.stream.events())

    def last(self):
        self.join(30)
        assert not self.is_alive()
        return self.events[-1]


def read_in_background(served, body):
    stream = Stream(served, "/v1/completions", body)
    reader = Reader(stream)
    eventually(lambda: len(reader.events) > 0)
    return reader


def refused(served):
    """Whether a new request finds nobody, or somebody who says that it is over."""
    try:
        status, body, headers = post(served, "/v1/completions", {"prompt": "late"})
    except (ConnectionError, TimeoutError):
        return True
    if status == 503:
        assert json.loads(body)["error"]["code"] == "draining"
        assert headers["Retry-After"]
    return status == 503


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_ends_in_time_is_whole(serve, sign):
    served = serve("--scripted", "echo", drain_s=30)
    length = 30_000
    reader = read_in_background(served, {"prompt": "x" * length, "max_tokens": length + 1})
    served.process.send_signal(sign)
    eventually(lambda: refused(served))
    assert reader.last() == "[DONE]"
    texts = [json.loads(event)["choices"][0]["text"] for event in reader.events[:-1]]
    assert "".join(texts) == "x" * length
    assert exit_status(served) == 0


def test_a_stream_that_takes_too_long_ends_with_an_error_event(serve):
    served = serve("--scripted", "echo", drain_s=0.2)
    reader = read_in_background(served, ENDLESS)
    began_s = time.monotonic()
    served.process.terminate()
    last = json.loads(reader.last())
    assert last["error"]["code"] == "draining"
    assert "[DONE]" not in reader.events
    assert exit_status(served) == 0
    assert time.monotonic() - began_s < 15


def test_a_whole_answer_that_takes_too_long_is_a_503(serve):
    served = serve("--scripted", "echo", drain_s=0.2)
    connection = connect(served)
    connection.sendall(request_bytes("/v1/completions", ENDLESS))
    eventually(lambda: figure(served, "edge_requests_running") == 1)
    served.process.terminate()
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"draining" in answer
    assert exit_status(served) == 0


def test_no_drain_time_at_all(serve):
    served = serve("--scripted", "echo", drain_s=0)
    reader = read_in_background(served, ENDLESS)
    served.process.terminate()
    assert json.loads(reader.last())["error"]["code"] == "draining"
    assert exit_status(served) == 0


def test_those_who_wait_are_answered_too(serve):
    served = serve("--scripted", "echo", drain_s=0.2, slots=1)
    reader = read_in_background(served, ENDLESS)
    waiting = connect(served)
    waiting.sendall(request_bytes("/v1/completions", {"prompt": "y"}))
    eventually(lambda: figure(served, "edge_requests_waiting") == 1)
    served.process.terminate()
    assert waiting.recv(100).startswith(b"HTTP/1.1 503 ")
    assert json.loads(reader.last())["error"]["code"] == "draining"
    assert exit_status(served) == 0


def test_idle_connections_do_not_hold_the_exit_up(serve):
    served = serve("--scripted", "echo", drain_s=60)
    idle = []
    for _ in range(5):
        idle.append(connect(served))
        idle[-1].sendall(request_bytes("/v1/completions", {"prompt": "x"}))
        assert idle[-1].recv(4096).startswith(b"HTTP/1.1 200 ")
    idle += [connect(served) for _ in range(3)]  # never sent anything
    began_s = time.monotonic()
    served.process.terminate()
    assert exit_status(served) == 0
    assert time.monotonic() - began_s < 8


def test_half_a_request_does_not_hold_the_exit_up(serve):
    served = serve("--scripted", "echo", drain_s=1)
    half = connect(served)
    half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Le")
    time.sleep(0.3)
    began_s = time.monotonic()
    served.process.terminate()
    assert exit_status(served) == 0
    assert time.monotonic() - began_s < 15


def test_a_second_interrupt_ends_at_once(serve):
    served = serve("--scripted", "echo", drain_s=300)
    reader = read_in_background(served, ENDLESS)
    served.process.send_signal(signal.SIGINT)
    eventually(lambda: refused(served))
    began_s = time.monotonic()
    served.process.send_signal(signal.SIGINT)
    exit_status(served)
    assert time.monotonic() - began_s < 10
    reader.join(10)
    assert not reader.is_alive()


def test_an_idle_appliance_ends_at_once(serve):
    served = serve("--scripted", "echo", drain_s=60)
    began_s = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - began_s < 8
    assert "Traceback" not in served.log


def test_a_signal_while_the_model_is_loaded(serve, model_bundle):
    served = serve("--bundle", str(model_bundle), await_ready=False)
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            get(served, "/livez")
            break
        except ConnectionError:
            time.sleep(0.005)
    served.process.terminate()
    assert exit_status(served) == 0
    assert "Traceback" not in served.log


def test_a_real_model_in_full_swing(serve, model_bundle):
    """No crash in native code while rows are dropped and the model is released."""
    served = serve("--bundle", str(model_bundle), drain_s=0.3)
    body = {"prompt": ["a", "b", "c", "d"], "max_tokens": 2000, "temperature": 1.0, "n": 3}
    reader = read_in_background(served, body)
    served.process.terminate()
    last = reader.last()
    assert last == "[DONE]" or json.loads(last)["error"]["code"] == "draining"
    assert exit_status(served) == 0
    assert "Traceback" not in served.log
