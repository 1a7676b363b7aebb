"""Clients that dawdle, by dozens: threads are for whole requests, and accepting never waits."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from .traffic import connect, get, post, request_bytes

# More than the threads of the appliance: slots, queue and spares.
DOZENS = 60
ASKED = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def small(serve):
    """Two slots, two places in the queue: twenty threads in all."""
    return serve("--scripted", "echo", slots=2, queue=2)


def answers_quickly(served):
    began_s = time.monotonic()
    assert get(served, "/livez")[0] == 200
    assert post(served, "/v1/completions", {"prompt": "x"})[0] == 200
    return time.monotonic() - began_s < 2


@pytest.mark.parametrize("sent", [b"", b"G", ASKED[:20], ASKED], ids=len)
def test_requests_that_never_end(small, sent):
    dawdlers = [connect(small) for _ in range(DOZENS)]
    for dawdler in dawdlers:
        dawdler.sendall(sent)
    assert answers_quickly(small)
    for dawdler in dawdlers:
        dawdler.close()


def test_clients_that_never_close(small):
    """Each was told `Connection: close` and stays; the one that accepts must not wait for them."""
    dawdlers = [connect(small) for _ in range(12)]
    for dawdler in dawdlers:
        dawdler.sendall(ASKED + b"Connection: close\r\n\r\n")
    assert answers_quickly(small)
    for dawdler in dawdlers:
        assert dawdler.recv(1000).startswith(b"HTTP/1.1 200 ")
        dawdler.close()


def test_a_request_byte_by_byte(small):
    raw = request_bytes("/v1/completions", {"prompt": "slowly"})
    with connect(small) as dawdler:
        for place in range(len(raw)):
            dawdler.sendall(raw[place : place + 1])
            time.sleep(0.001)
        answer = http.client.HTTPResponse(dawdler)
        answer.begin()
        assert answer.status == 200
        assert json.load(answer)["choices"][0]["text"] == "slowly"


def test_a_second_request_in_pieces_on_the_same_connection(small):
    raw = request_bytes("/v1/completions", {"prompt": "again"})
    with connect(small) as dawdler:
        for cut in (len(raw), 5, 40, len(raw) - 3):
            dawdler.sendall(raw[:cut])
            time.sleep(0.05)
            dawdler.sendall(raw[cut:])
            answer = http.client.HTTPResponse(dawdler)
            answer.begin()
            assert (answer.status, len(answer.read()) > 0) == (200, True)


def test_blank_lines_before_a_request(small):
    with connect(small) as dawdler:
        dawdler.sendall(b"\r\n\r\n")
        time.sleep(0.1)
        dawdler.sendall(request_bytes("/v1/completions", {"prompt": "x"}))
        assert dawdler.recv(65536).startswith(b"HTTP/1.1 ")


def test_a_head_without_end_is_refused(small):
    with connect(small) as dawdler:
        dawdler.sendall(ASKED)
        answer = b""
        try:
            for _ in range(1100):
                dawdler.sendall(b"X-Padding: " + b"x" * 1000 + b"\r\n")
            answer = dawdler.recv(1000)
        except OSError:
            answer = answer or b"HTTP/1.1 400 (the connection was reset)"
    assert answer.startswith(b"HTTP/1.1 4")
    assert answers_quickly(small)


@pytest.mark.parametrize(
    "raw",
    [b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20],
    ids=repr,
)
def test_what_is_no_http(small, raw):
    with connect(small) as stranger:
        stranger.sendall(raw + b"\r\n\r\n")
        stranger.settimeout(10)
        answer = stranger.recv(1000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 5")
    assert b"Traceback" not in answer
    assert answers_quickly(small)


def test_nothing_of_this_was_an_error_of_the_server(small):
    assert "Traceback" not in small.log
