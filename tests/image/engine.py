"""Containers through a command line, podman's or Docker's: both understand the same words."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest

from tests.bench import processes

PREFIX = "phial-test"
PORT = 8080  # on which images listen
TIMEOUT_S = 60.0
STOP_S = 20.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Engine:
    """A client and the variables that it runs under; `remove` are its words to end a container."""

    client: str
    environment: Mapping[str, str]
    remove: tuple[str, ...] = ("rm", "--force", "--volumes")

    def run(
        self, *arguments: str | Path, timeout_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """The client with `arguments`, whatever its status; raises `TimeoutExpired`."""
        return subprocess.run(
            [self.client, *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *arguments: str | Path, timeout_s: float = TIMEOUT_S) -> str:
        """What the client prints; the test fails where the client does."""
        done = self.run(*arguments, timeout_s=timeout_s)
        if done.returncode != 0:
            pytest.fail(f"{self.client} {' '.join(map(str, arguments))}:\n{done.stderr}")
        return done.stdout.strip()

    def once(
        self,
        image: str,
        *options: str,
        command: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a container to its end; it is gone afterwards, and after `TimeoutExpired` too."""
        with self._name() as name:
            return self.run("run", "--name", name, *options, image, *command, timeout_s=timeout_s)

    @contextmanager
    def start(
        self,
        image: str,
        *options: str,
        command: Sequence[str] = (),
        port: int | None = PORT,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[Container]:
        """A running container whose `port` is published on a free one of loopback.

        `port=None` publishes nothing, as `--network none` wants it.
        """
        publish = () if port is None else ("--publish", f"127.0.0.1::{port}")
        with self._name() as name:
            words = ("run", "--detach", "--name", name, *publish, *options, image, *command)
            self.ask(*words, timeout_s=timeout_s)
            yield Container(self, name, port)

    def sweep(self) -> None:
        """Remove the containers of test runs that were killed."""
        names = self.ask("ps", "--all", "--filter", f"name={PREFIX}-", "--format", "{{.Names}}")
        for name in names.split():
            if not Path("/proc", name.split("-")[2]).exists():
                self._end(name)

    @contextmanager
    def _name(self) -> Iterator[str]:
        """A fresh name; the container that gets it is removed, even where its client was killed."""
        name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        try:
            yield name
        finally:
            self._end(name)

    def _end(self, name: str) -> None:
        done = self.run(*self.remove, name)
        if done.returncode != 0 and "no such container" not in done.stderr.lower():
            pytest.fail(f"the container {name} stays: {done.stderr}")


@dataclass(frozen=True)
class Container:
    """A container that runs, or ran; `port` is the one inside that is published, if any."""

    engine: Engine
    name: str
    port: int | None = None

    @cached_property
    def url(self) -> str:
        """Where its server answers, without a path; the test fails where it ended before."""
        assert self.port is not None, f"{self.name} publishes no port"
        published = self.engine.run("port", self.name, f"{self.port}/tcp")
        if not published.stdout:
            self._fail(f"publishes no port: {published.stderr}")
        return f"http://{published.stdout.splitlines()[0]}"

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all its processes, an init included."""
        return sum(processes.memory(pid).rss_bytes for pid in processes.family(self.pid))

    @property
    def pid(self) -> int:
        """The first process, by the number that the host knows it by."""
        return int(self.state("Pid"))

    @property
    def is_running(self) -> bool:
        return self.state("Running") == "true"

    def state(self, name: str) -> str:
        """A field of the engine's `State`, such as `OOMKilled`."""
        return self.engine.ask("inspect", "--format", f"{{{{.State.{name}}}}}", self.name)

    def logs(self) -> str:
        """Standard output and error so far."""
        done = self.engine.run("logs", self.name)
        return done.stdout + done.stderr

    def exec(self, *command: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run `command` inside."""
        return self.engine.run("exec", self.name, *command, timeout_s=timeout_s)

    def await_answer(self, path: str = "/", *, timeout_s: float = TIMEOUT_S) -> str:
        """The body of the first 200 of GET `path`; fails with the log where none comes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:
                    return str(answer.read(), "utf-8")
            except OSError:  # URLError is one; a proxy of the engine listens before the server does
                if not self.is_running:
                    self._fail("ended")
                time.sleep(0.1)
        self._fail(f"no answer at {self.url}{path} after {timeout_s} s")

    def stop(self, *, timeout_s: float = STOP_S) -> int:
        """SIGTERM, SIGKILL after `timeout_s`; the exit status, 137 where it took the latter."""
        self.engine.ask(
            "stop", "--time", f"{timeout_s:.0f}", self.name, timeout_s=timeout_s + TIMEOUT_S
        )
        return int(self.state("ExitCode"))

    def _fail(self, reason: str) -> NoReturn:
        state = f"running: {self.is_running}, exit status {self.state('ExitCode')}"
        pytest.fail(f"{self.name}: {reason} ({state})\n{self.logs()}")
