"""A Docker daemon of the tests' own: its data, socket and mounts lie in one temporary folder.

What it sets up in the kernel is the machine's: a bridge `docker0`, removed at the end, and empty
chains of firewall rules, which stay. Two daemons would rewrite each other's rules, so none is
started beside one that runs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.image.engine import Engine

USUAL_SOCKET = Path("/var/run/docker.sock")
PLACE = Path("/var/tmp")  # /tmp may be memory; a socket's path must be short
PREFIX = "phial-docker-"
BRIDGE = "docker0"
START_S, STOP_S = 60.0, 60.0
# A kernel that lacks tables for iptables still publishes ports through Docker's own proxy.
FLAGS = ((), ("--iptables=false", "--ip-masq=false"))


class DidNotStart(Exception):
    """The daemon ended, or said nothing in time; the text holds the end of its log."""


def is_running(path: Path = USUAL_SOCKET) -> bool:
    """Whether a daemon listens on the socket `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@contextmanager
def daemon(*flag_sets: tuple[str, ...]) -> Iterator[Engine]:
    """A fresh daemon, with the first of `flag_sets` (default: `FLAGS`) that it starts with.

    Yields its client, which comes from the same package. The test fails where none starts.
    """
    sweep()
    bridge_is_new = not _bridge().exists()
    reasons = []
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE) as name:
        try:
            for flags in flag_sets or FLAGS:
                folder = Path(tempfile.mkdtemp(dir=name))
                try:
                    with _running(folder, flags) as engine:
                        yield engine
                    return
                except DidNotStart as reason:
                    reasons.append(str(reason))
            pytest.fail("\n".join(reasons))
        finally:
            if bridge_is_new and _bridge().exists():
                subprocess.run(["ip", "link", "delete", BRIDGE], check=True)


def sweep() -> None:
    """Remove the folders of test runs that were killed; their daemons ended with them."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            _unmount_below(folder)
            shutil.rmtree(folder)


@contextmanager
def _running(folder: Path, flags: tuple[str, ...]) -> Iterator[Engine]:
    dockerd = shutil.which("dockerd") or "dockerd"
    client = _client(Path(dockerd), folder)
    # setpriv: it ends with the test run, however that ends.
    command = ["setpriv", "--pdeathsig", "TERM", dockerd, *_options(folder), *flags]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _await(client, process, folder / "log")
        yield client
    finally:
        _stop(process)
        _unmount_below(folder)


def _options(folder: Path) -> list[str]:
    places = {"--data-root": "data", "--exec-root": "run", "--pidfile": "pid"}
    return [
        *(word for key, name in places.items() for word in (key, str(folder / name))),
        *("--host", f"unix://{folder}/docker.sock"),
    ]


def _client(dockerd: Path, folder: Path) -> Engine:
    """The client beside `dockerd`; another one earlier in the PATH may lack BuildKit."""
    environment = {
        **os.environ,
        "DOCKER_HOST": f"unix://{folder}/docker.sock",
        "DOCKER_CONFIG": str(folder / "config"),
        "DOCKER_BUILDKIT": "1",
    }
    return Engine(str(dockerd.parent.parent / "bin" / "docker"), environment)


def _await(client: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        if client.run("version").returncode == 0:
            return
        time.sleep(0.1)
    raise DidNotStart(f"{process.args} ({process.poll()}):\n{log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM: it stops its containers and its containerd, and unmounts."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _unmount_below(folder: Path) -> None:
    """What a killed daemon left mounted, the innermost first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", mount], check=True)


def _bridge() -> Path:
    return Path("/sys/class/net", BRIDGE)
