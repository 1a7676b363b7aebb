"""The server around the appliance: addresses, a worker that dies, odd but legal HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .traffic import connect, eventually, get, post, request_bytes

PATIENCE_S = 30.0


def worker_of(served):
    """The process that serves, a child of the one that was started."""
    tasks = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    (worker,) = tasks.read_text().split()
    return int(worker)


def is_ready(served):
    try:
        return get(served, "/readyz")[0] == 200
    except OSError:
        return False


def test_a_worker_that_dies_is_replaced(serve):
    """Out of memory, or a crash in native code: the appliance loads its model again."""
    served = serve("--scripted", "echo")
    first = worker_of(served)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: is_ready(served) and worker_of(served) != first)
    status, body, _ = post(served, "/v1/completions", {"prompt": "again"})
    assert (status, json.loads(body)["choices"][0]["text"]) == (200, "again")
    assert served.stop() == 0


def test_a_worker_without_its_parent_ends(serve):
    served = serve("--scripted", "echo")
    worker = worker_of(served)
    served.process.kill()
    served.process.wait()
    eventually(lambda: not Path(f"/proc/{worker}").exists() or zombie(worker))


def zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_free_port_is_told(repository, tmp_path):
    """`EDGE_PORT=0`: the log says which one it became."""
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", "--scripted", "echo"],
            cwd=repository,
            env={**os.environ, "EDGE_PORT": "0"},
            stderr=log,
        )
    try:
        pattern = re.compile(r"127\.0\.0\.1:([1-9]\d*)")
        eventually(lambda: pattern.search((tmp_path / "log").read_text()) is not None)
        port = int(pattern.search((tmp_path / "log").read_text())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def port_of_ipv6():
    """A free port of `::1`; None on machines without it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return probe.getsockname()[1]
    except OSError:
        return None


def test_an_address_of_ipv6(repository):
    """Served where the machine has it, a bad start with a reason where it has not."""
    port = port_of_ipv6()
    arguments = ["--scripted", "echo", "--host", "::1", "--port", str(port or 8080)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *arguments], cwd=repository, stderr=subprocess.PIPE
    )
    if port is None:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert b"EDGE_HOST ::1" in errors
        return
    try:
        eventually(lambda: answers_on("::1", port))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def answers_on(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def answer_of(connection, method="POST"):
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return response.status, response.headers, response.read()


def test_a_client_that_asks_before_it_sends_its_body(echo):
    """curl does so for large bodies: `Expect: 100-continue`."""
    whole = request_bytes("/v1/completions", {"prompt": "expected"}, Expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    with connect(echo) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        status, _, raw = answer_of(connection)
    assert (status, json.loads(raw)["choices"][0]["text"]) == (200, "expected")


def test_a_chunked_body(echo):
    body = json.dumps({"prompt": "in pieces"}).encode()
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    with connect(echo) as connection:
        connection.sendall(head)
        for byte in body:
            connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        status, _, raw = answer_of(connection)
    assert (status, json.loads(raw)["choices"][0]["text"]) == (200, "in pieces")


def test_a_body_that_ends_early(echo):
    whole = request_bytes("/v1/completions", {"prompt": "cut"})
    with connect(echo) as connection:
        connection.sendall(whole[:-4])
        connection.shutdown(socket.SHUT_WR)
        status, _, raw = answer_of(connection)
    assert status == 400
    assert "error" in json.loads(raw)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_streams_in_either_version_of_http(echo, version):
    body = json.dumps({"prompt": "abc", "stream": True}).encode()
    head = (
        f"POST /v1/completions HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with connect(echo) as connection:
        connection.sendall(head.encode() + body)
        status, headers, raw = answer_of(connection)
    assert status == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["X-Accel-Buffering"] == "no"
    assert raw.rstrip().endswith(b"data: [DONE]")


def test_two_lengths_are_refused(echo):
    """A body whose length is open to debate is how requests are smuggled."""
    whole = request_bytes("/v1/completions", {"prompt": "x"}, **{"Transfer-Encoding": "chunked"})
    with connect(echo) as connection:
        connection.sendall(whole)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id"])
@pytest.mark.parametrize("given", ["abc-123", "a" * 128])
def test_the_request_id_comes_back(echo, name, given):
    assert get(echo, "/livez", **{name: given})[2]["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "caf\u00e9"])
def test_an_odd_request_id_is_replaced(echo, given):
    found = get(echo, "/livez", **{"X-Request-Id": given})[2]["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", found)


def test_head_and_options(echo):
    with connect(echo) as connection:
        connection.sendall(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, raw = answer_of(connection, "HEAD")
        assert (status, raw) == (200, b"")
        connection.sendall(b"OPTIONS /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(connection, "OPTIONS")[0] == 200
