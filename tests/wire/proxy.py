"""A real HAProxy with the configuration that is shipped, in front of appliances of a test."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import find, libraries

from .conftest import free_port

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
START_S = 20.0
# Like the network of Kubernetes: connections and not requests are shared out, and one that stands
# stays where it is when its pod is taken off the list.
_BY_CONNECTION = """
frontend connections
    mode tcp
    bind 127.0.0.1:{port}
    default_backend pods

backend pods
    mode tcp
    balance roundrobin
"""


class Proxy:
    """A running HAProxy.

    `by_request` is the port of the shipped configuration, whose servers are found by their health
    alone; `by_connection` that of a list which `add` and `remove` change.
    """

    def __init__(self, folder: Path) -> None:
        """Write the configuration and what belongs to it to `folder`."""
        self.by_request, self.by_connection = free_port(), free_port()
        self._socket = folder / "admin"
        self.log = folder / "haproxy.log"
        self.configuration = folder / "haproxy.cfg"
        self.configuration.write_text(self._settled(SHIPPED.read_text()))

    def add(self, name: str, port: int) -> None:
        """Put the appliance at `port` in the place `name`: it may get connections from now on."""
        for backend in ("appliances", "pods"):
            self._command(f"set server {backend}/{name} addr 127.0.0.1 port {port}")
        self._command(f"enable server pods/{name}")

    def remove(self, name: str) -> None:
        """Take an appliance off the list for connections; those that it has are left alone."""
        self._command(f"disable server pods/{name}")

    def up(self) -> set[str]:
        """The places whose appliance says that it is ready."""
        lines = self._command("show stat appliances 4 -1").splitlines()
        columns = lines[0].removeprefix("# ").split(",")
        found = [dict(zip(columns, line.split(","), strict=False)) for line in lines[1:] if line]
        return {one["svname"] for one in found if one["status"].startswith("UP")}

    def _command(self, text: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_S)
            connection.connect(str(self._socket))
            connection.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def _settled(self, text: str) -> str:
        """The configuration with ports of this test, and a list of connections beside it."""
        text = text.replace("global\n", f"global\n    stats socket {self._socket} level admin\n")
        text = text.replace("bind :8080\n", f"bind 127.0.0.1:{self.by_request}\n")
        text = re.sub(r"(server \w 127\.0\.0\.1):\d+", lambda s: f"{s[1]}:{free_port()}", text)
        places = re.findall(r"^ +server .+\n", text, flags=re.MULTILINE)
        disabled = "".join(place.replace("\n", " disabled\n") for place in places)
        return text + _BY_CONNECTION.format(port=self.by_connection) + disabled


@contextmanager
def running(folder: Path, ports: Mapping[str, int]) -> Iterator[Proxy]:
    """Start HAProxy, with the appliances at `ports` by the names of their places."""
    proxy = Proxy(folder)
    with proxy.log.open("wb") as log:
        process = subprocess.Popen(
            [find("haproxy"), "-db", "-f", proxy.configuration],
            env=libraries(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, proxy, set())  # a place counts as taken until its first check
        for name, port in ports.items():
            proxy.add(name, port)
        _wait(process, proxy, set(ports))
        yield proxy
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], proxy: Proxy, ready: set[str]) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if proxy.up() == ready:
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.1)
    pytest.fail(f"HAProxy does not see who is ready:\n{proxy.log.read_text()}")
