"""The health check's few lines of HTTP, against sockets that answer in every way."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from edge.commands import probe
from edge.config import Settings
from edge.errors import StartupError

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
BUSY = b"HTTP/1.1 503 SERVICE UNAVAILABLE\r\nRetry-After: 1\r\n\r\nnot ready\n"


@contextmanager
def server(answer, family=socket.AF_INET):
    """Answers one connection by calling `answer(connection, request)`; yields its port."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(10)

        def serve():
            connection, _ = listener.accept()
            with connection:
                answer(connection, connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def sends(*parts):
    def answer(connection, _):
        for part in parts:
            connection.sendall(part)

    return answer


def test_ready():
    with server(sends(READY)) as port:
        probe.ask("127.0.0.1", port, "/readyz")


def test_the_request_is_http():
    seen = []

    def answer(connection, request):
        seen.append(request)
        connection.sendall(READY)

    with server(answer) as port:
        probe.ask("127.0.0.1", port, "/readyz")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /readyz HTTP/1.1"
    assert lines[1:] == [f"Host: 127.0.0.1:{port}", "Connection: close", "", ""]


def test_ready_over_ipv6():
    seen = []

    def answer(connection, request):
        seen.append(request)
        connection.sendall(READY)

    with server(answer, socket.AF_INET6) as port:
        probe.ask("::1", port, "/readyz")
    assert f"Host: [::1]:{port}".encode() in seen[0]


def test_an_answer_in_pieces():
    with server(sends(READY[:5], READY[5:20], READY[20:])) as port:
        probe.ask("127.0.0.1", port, "/readyz")


def test_an_answer_without_end_is_good_as_soon_as_it_is_long():
    def flood(connection, _):
        with suppress(OSError):
            while True:
                connection.sendall(READY * 1000)

    with server(flood) as port:
        probe.ask("127.0.0.1", port, "/readyz")


def test_not_ready():
    with server(sends(BUSY)) as port, pytest.raises(OSError, match="503 SERVICE UNAVAILABLE") as no:
        probe.ask("127.0.0.1", port, "/readyz")
    assert "'not ready'" in str(no.value)


@pytest.mark.parametrize(
    "junk", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff", b"HTTP/2 200\r\n", b"200 OK\r\n"]
)
def test_something_else_listens(junk):
    with server(sends(junk)) as port, pytest.raises(OSError, match=r"expected HTTP/1\.1"):
        probe.ask("127.0.0.1", port, "/readyz")


@pytest.mark.parametrize(
    "status", [b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 404 x\r\n"]
)
def test_another_status(status):
    with server(sends(status)) as port, pytest.raises(OSError, match="answered"):
        probe.ask("127.0.0.1", port, "/readyz")


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: Connection refused"):
            probe.ask("127.0.0.1", port, "/readyz")


def test_silence_ends_with_the_time_limit():
    began_s = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(OSError, match=r"no answer within 0\.3 s"):
            probe.ask("127.0.0.1", port, "/readyz", timeout_s=0.3)
    assert 0.25 < time.monotonic() - began_s < 5


def test_a_trickle_does_not_stretch_the_time_limit():
    """A limit for each read alone would let a byte now and then keep the check alive."""

    def trickle(connection, _):
        for byte in READY[:-1]:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(0.05)

    began_s = time.monotonic()
    with server(trickle) as port:
        with pytest.raises(OSError, match="no answer"):
            probe.ask("127.0.0.1", port, "/readyz", timeout_s=0.4)
        assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7"), ("localhost", "localhost")],
)
def test_who_listens_everywhere_is_asked_on_loopback(host, asked):
    assert probe.where(Settings(host=host, port=81)) == (asked, 81, "/readyz")


def test_a_port_that_is_not_known():
    with pytest.raises(StartupError, match="--url"):
        probe.where(Settings(port=0))


def test_the_environment_names_the_appliance(monkeypatch, capsys):
    with server(sends(READY)) as port:
        monkeypatch.setenv("EDGE_PORT", str(port))
        monkeypatch.setenv("EDGE_HOST", "0.0.0.0")
        assert probe.run([]) == 0
    assert capsys.readouterr() == ("", "")


def test_one_line_says_why_not(monkeypatch, capsys):
    for name, value in (("EDGE_PORT", "x"), ("EDGE_SLOTS", "y")):
        monkeypatch.setenv(name, value)
    assert probe.run([]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("phial: not ready: EDGE_PORT is 'x'")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/readyz"), ("/", "/readyz"), ("/livez?a=1", "/livez?a=1")]
)
def test_a_url_from_the_command_line(path, asked):
    seen = []

    def answer(connection, request):
        seen.append(request)
        connection.sendall(READY)

    with server(answer) as port:
        assert probe.run(["--url", f"http://127.0.0.1:{port}{path}"]) == 0
    assert seen[0].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


def test_a_name_that_is_unknown(capsys):
    assert probe.run(["--url", "http://no.such.host.invalid:1/"]) == 1
    assert "no.such.host.invalid:1" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://x/", "x:80", "http://", "http://x:port/", "http://[::1"])
def test_a_url_that_is_none(url, capsys):
    with pytest.raises(SystemExit) as ended:
        probe.run(["--url", url])
    assert ended.value.code == 2
    assert "--url" in capsys.readouterr().err
