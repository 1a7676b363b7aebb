"""Clients that leave: their sequences end within a step, whatever the answer was doing."""

from __future__ import annotations

import json
import socket

import pytest

from .traffic import Stream, connect, eventually, figure, is_idle, post, request_bytes

LONG = {"prompt": "x" * 500_000, "max_tokens": 500_000}
CANCELLED = ("edge_requests_total", "code", "499", "finish_reason", "cancelled", "operation")


def cancelled(served, operation="text_completion"):
    return figure(served, *CANCELLED, operation)


def cancels(served, name):
    return figure(served, "edge_cancel_latency_seconds_count", "model", name)


def test_in_the_middle_of_a_stream(echo):
    before = cancelled(echo)
    stream = Stream(echo, "/v1/completions", LONG)
    events = stream.events()
    for _ in range(3):
        assert json.loads(next(events))["choices"][0]["text"]
    assert figure(echo, "edge_requests_running") == 1
    stream.close()
    eventually(lambda: is_idle(echo), 5)
    eventually(lambda: cancelled(echo) == before + 1, 5)


def test_while_the_whole_answer_is_awaited(echo):
    """Nothing is written before the end, so only watching the socket can tell."""
    before, ends = cancelled(echo), cancels(echo, "echo")
    connection = connect(echo)
    connection.sendall(request_bytes("/v1/completions", LONG))
    eventually(lambda: figure(echo, "edge_requests_running") == 1)
    connection.close()
    eventually(lambda: is_idle(echo), 5)
    eventually(lambda: cancelled(echo) == before + 1, 5)
    assert cancels(echo, "echo") == ends + 1


def test_an_invocation(echo):
    """MLflow's route sets no bound of its own here: the appliance's default is 300 tokens."""
    before = cancelled(echo, "invocations")
    connection = connect(echo)
    connection.sendall(request_bytes("/invocations", {"inputs": ["x" * 3000] * 100}))
    eventually(lambda: figure(echo, "edge_requests_running") > 0)
    connection.close()
    eventually(lambda: is_idle(echo), 5)
    eventually(lambda: cancelled(echo, "invocations") == before + 1, 5)


@pytest.mark.parametrize("how", ["reset", "half-close"])
def test_other_ways_to_leave(echo, how):
    before = cancelled(echo)
    connection = connect(echo)
    connection.sendall(request_bytes("/v1/completions", LONG))
    eventually(lambda: figure(echo, "edge_requests_running") == 1)
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
    eventually(lambda: is_idle(echo), 5)
    eventually(lambda: cancelled(echo) == before + 1, 5)
    connection.close()


@pytest.mark.parametrize("stream", [False, True])
def test_in_the_middle_of_a_prefill(model, model_bundle, stream):
    """Many long prompts: the model reads for seconds before it would say anything."""
    manifest = json.loads((model_bundle / "manifest.json").read_bytes())
    prompts = [[20] * (manifest["context_length"] - 8)] * 60
    before, ends = cancelled(model), cancels(model, manifest["name"])
    connection = connect(model)
    body = {"prompt": prompts, "max_tokens": 1, "stream": stream}
    connection.sendall(request_bytes("/v1/completions", body))
    eventually(lambda: figure(model, "edge_requests_running") > 0)
    connection.close()
    eventually(lambda: is_idle(model), 5)
    eventually(lambda: cancelled(model) == before + 1, 5)
    assert cancels(model, manifest["name"]) >= ends + 1
    assert post(model, "/v1/completions", {"prompt": "x", "max_tokens": 2})[0] == 200


def test_while_waiting_for_a_slot(serve):
    served = serve("--scripted", "echo", slots=1)
    first = Stream(served, "/v1/completions", LONG)
    next(first.events())
    second = connect(served)
    second.sendall(request_bytes("/v1/completions", {"prompt": "y"}))
    eventually(lambda: figure(served, "edge_requests_waiting") == 1)
    second.close()
    eventually(lambda: figure(served, "edge_requests_waiting") == 0, 5)
    assert figure(served, "edge_requests_running") == 1
    first.close()
    eventually(lambda: is_idle(served), 5)
    assert cancelled(served) == 2
    assert served.stop() == 0


def test_a_connection_that_sends_nothing_does_no_harm(echo):
    silent = [connect(echo) for _ in range(20)]
    assert post(echo, "/v1/completions", {"prompt": "x"})[0] == 200
    for connection in silent:
        connection.close()


def test_half_a_request_does_no_harm(echo):
    whole = request_bytes("/v1/completions", {"prompt": "never"})
    halves = []
    for length in (1, 10, 60, len(whole) - 1):
        halves.append(connect(echo))
        halves[-1].sendall(whole[:length])
    assert post(echo, "/v1/completions", {"prompt": "x"})[0] == 200
    for connection in halves:
        connection.close()
    assert post(echo, "/v1/completions", {"prompt": "x"})[0] == 200
    eventually(lambda: is_idle(echo))


def test_a_reader_that_stalls_holds_up_nobody_else(echo):
    """It never reads its stream: buffers fill, and the others go on."""
    stalled = Stream(echo, "/v1/completions", LONG)
    for _ in range(5):
        assert post(echo, "/v1/completions", {"prompt": "x"})[0] == 200
    stalled.close()
    eventually(lambda: is_idle(echo), 10)


def test_after_a_client_left_its_connection_number_serves_the_next(echo):
    """Sockets are known by numbers that are used again at once."""
    for _ in range(30):
        connection = connect(echo)
        connection.sendall(request_bytes("/v1/completions", LONG))
        connection.close()
        status, body, _ = post(echo, "/v1/completions", {"prompt": "still here"})
        assert status == 200
        assert json.loads(body)["choices"][0]["text"] == "still here"
    eventually(lambda: is_idle(echo))
