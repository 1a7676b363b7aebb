"""The two sides of a comparison as running processes: the bare loop and the appliance."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.bench.bare import Task, Timing
from tests.bench.client import Address

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 60.0
READY_PATH = "/readyz"
_POLL_S = 0.005


class NotStarted(Exception):
    """A side did not start; the text carries the end of its output."""


@dataclass(frozen=True, slots=True)
class Bare:
    """The bare loop: its process, and seconds from the process's start to its first token."""

    process: subprocess.Popen[str]
    start_s: float

    def run(self, task: Task) -> Timing:
        """Run one task to its end."""
        print(json.dumps(task), file=_open(self.process.stdin), flush=True)
        timing: Timing = json.loads(_open(self.process.stdout).readline())
        return timing


@dataclass(frozen=True, slots=True)
class Served:
    """A server: its process, where it listens, and seconds until it was ready.

    The process of the appliance is its arbiter's.
    """

    process: subprocess.Popen[bytes]
    address: Address
    start_s: float


@contextmanager
def bare(folder: Path, threads: int, log: Path) -> Iterator[Bare]:
    """Start the bare loop on the model in `folder`. Raises `NotStarted`."""
    command = [sys.executable, "-m", "tests.bench.bare", str(folder), "--threads", str(threads)]
    started = time.perf_counter()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        if not _open(process.stdout).readline():
            raise NotStarted(f"the bare loop did not start:\n{_tail(log)}")
        yield Bare(process, time.perf_counter() - started)
        _open(process.stdin).close()


@contextmanager
def served(bundle: Path, settings: Mapping[str, str], log: Path) -> Iterator[Served]:
    """Start `python -m edge` with `settings` (EDGE_* variables). Raises `NotStarted`."""
    command, address, variables = appliance(bundle, settings)
    with listening(command, address, READY_PATH, log, variables) as running:
        yield running


def appliance(
    bundle: Path, settings: Mapping[str, str]
) -> tuple[list[str], Address, dict[str, str]]:
    """How to start the appliance: its command line, a free address and the environment."""
    address = Address("127.0.0.1", free_port())
    here = {"EDGE_HOST": address.host, "EDGE_PORT": str(address.port)}
    command = [sys.executable, "-m", "edge", "--bundle", str(bundle)]
    return command, address, environment({**settings, **here})


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's own environment, with `settings` in place of its EDGE_* variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
    return {**inherited, **settings}


@contextmanager
def listening(
    command: Sequence[str],
    address: Address,
    path: str,
    log: Path,
    variables: Mapping[str, str],
) -> Iterator[Served]:
    """Start a server that is ready when `path` answers 200, and end it. Raises `NotStarted`."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        while not is_ready(address, path):
            if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                raise NotStarted(f"the server did not start:\n{_tail(log)}")
            time.sleep(_POLL_S)
        yield Served(process, address, time.perf_counter() - started)
    finally:
        _stop(process)


def is_ready(address: Address, path: str = READY_PATH) -> bool:
    """Whether `path` answers 200."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _open(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the process has no pipe here")
    return stream


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
