"""`python -m edge probe`: is the appliance ready? For health checks of an image without curl.

It runs every few seconds on the smallest machines, so it speaks just enough HTTP/1.1 (RFC 9112)
over a bare socket and imports nothing else.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence

from edge import config
from edge.config import Settings
from edge.errors import StartupError

TIMEOUT_S = 3.0
_PATH = "/readyz"
_ANSWER_MOST_BYTES = 1 << 16
# Who listens on every address is asked on loopback.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names what is listened on


def run(arguments: Sequence[str]) -> int:
    """Ask once; returns 0 when ready, else 1 with one line on standard error that says why."""
    try:
        host, port, path = _given(arguments) if arguments else where(config.from_process({}))
        ask(host, port, path)
    except (StartupError, OSError) as error:
        print(f"phial: not ready: {_reason(error)}", file=sys.stderr)
        return 1
    return 0


def where(settings: Settings) -> tuple[str, int, str]:
    """Host, port and path of the appliance with these settings.

    Raises `StartupError` where the port is not known beforehand.
    """
    if settings.port == 0:
        raise StartupError(["EDGE_PORT is 0, which takes any port: pass --url URL"])
    return _LOOPBACK.get(settings.host, settings.host), settings.port, _PATH


def ask(host: str, port: int, path: str, timeout_s: float = TIMEOUT_S) -> None:
    """Return when `GET path` is answered with status 200 within `timeout_s`.

    Raises `OSError` that says what happened otherwise.
    """
    end_s = time.monotonic() + timeout_s
    is_v6 = ":" in host
    name = f"[{host}]" if is_v6 else host
    try:
        with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET) as connection:
            connection.settimeout(timeout_s)
            connection.connect((host, port))
            head = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            answer = _read(connection, end_s)
    except TimeoutError:
        raise TimeoutError(f"{name}:{port} gave no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise OSError(f"{name}:{port}: {_reason(error)}") from None
    _check(answer, f"{name}:{port}{path}")


def _read(connection: socket.socket, end_s: float) -> bytes:
    """What is sent up to the end of the connection. Raises `TimeoutError` after `end_s`."""
    answer = b""
    while len(answer) < _ANSWER_MOST_BYTES:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        chunk = connection.recv(_ANSWER_MOST_BYTES)
        if not chunk:
            break
        answer += chunk
    return answer


def _check(answer: bytes, place: str) -> None:
    line, _, rest = answer.partition(b"\r\n")
    protocol, _, status = line.decode("latin-1").partition(" ")
    if not protocol.startswith("HTTP/1."):
        raise OSError(f"{place} answered {line[:40]!r}, expected HTTP/1.1")
    if status.split(" ")[0] != "200":
        body = rest.partition(b"\r\n\r\n")[2].decode("latin-1").strip()
        raise OSError(f"{place} answered {status.strip()}" + (f": {body[:80]!r}" if body else ""))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)


def _given(arguments: Sequence[str]) -> tuple[str, int, str]:
    """Host, port and path from the command line; ends the process where they are not there."""
    import argparse
    from urllib.parse import urlsplit

    parser = argparse.ArgumentParser(
        prog="python -m edge probe",
        description="Ask a running appliance whether it is ready: exit status 0 if so, else 1.",
    )
    parser.add_argument(
        "--url", help=f"http://HOST:PORT[PATH]; default: EDGE_HOST and EDGE_PORT, {_PATH}"
    )
    text = parser.parse_args(arguments).url
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        parser.error(f"--url is {text!r}: {error}")
    if parts.scheme != "http" or not parts.hostname:
        parser.error(f"--url is {text!r}, expected http://HOST:PORT[PATH]")
    path = parts.path.rstrip("/") or _PATH
    return parts.hostname, port or 80, path + (f"?{parts.query}" if parts.query else "")
