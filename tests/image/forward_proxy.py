"""A forward proxy on loopback that asks for a password and notes what goes through it."""

from __future__ import annotations

import base64
import contextlib
import http.server
import select
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_CHUNK_BYTES = 65536
_IDLE_S = 60.0


@dataclass
class Proxy:
    """Its address with the password in it; `seen` holds what was let through."""

    url: str
    expected: str
    seen: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextmanager
def running(user: str, password: str) -> Iterator[Proxy]:
    """A proxy for the time of a test."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    proxy = Proxy("", expected)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://{user}:{password}@127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _is_let_in(self) -> bool:
        if self.headers.get("Proxy-Authorization") == self.proxy.expected:
            self.proxy.seen.append(f"{self.command} {self.path}")
            return True
        self.proxy.refused.append(self.path)
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self) -> None:
        if not self._is_let_in():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=_IDLE_S) as upstream:
            self.send_response(200)
            self.end_headers()
            _tunnel(self.connection, upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        if not self._is_let_in():
            return
        skipped = ("proxy-authorization", "proxy-connection", "connection", "host")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
        request = urllib.request.Request(self.path, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_IDLE_S) as answer:
                status, found, body = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, found, body = error.code, error.headers, error.read()
        self.send_response(status)
        for name, value in found.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _tunnel(client: socket.socket, upstream: socket.socket) -> None:
    pair = {client: upstream, upstream: client}
    with contextlib.suppress(OSError):
        while ready := select.select([*pair], [], [], _IDLE_S)[0]:
            for one in ready:
                data = one.recv(_CHUNK_BYTES)
                if not data:
                    return
                pair[one].sendall(data)
