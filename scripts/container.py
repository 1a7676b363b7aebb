"""One container of an image, by Docker or podman: started, found on a port, stopped, removed."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

TOOLS = ("docker", "podman")
PORT = 8080
_PROBE_S = 30.0


class NoContainer(Exception):
    """The container tool did not do what was asked; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container by its name, published on `port` of loopback."""

    tool: str
    name: str
    port: int

    def exec(self, *command: str) -> str:
        """What `command` prints inside; raises `NoContainer`."""
        return ask(self.tool, "exec", self.name, *command)

    def logs(self) -> str:
        """Standard output and error so far."""
        done = subprocess.run(
            [self.tool, "logs", self.name], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def stop(self, grace_s: int) -> int:
        """SIGTERM, and SIGKILL after `grace_s`; the exit status: 0 after a drain, 137 if killed."""
        ask(self.tool, "stop", "--time", str(grace_s), self.name)
        return int(ask(self.tool, "inspect", "--format", "{{.State.ExitCode}}", self.name))


def find(wanted: str | None = None) -> str:
    """Docker where its engine answers, else podman; raises `NoContainer`."""
    for tool in (wanted,) if wanted else TOOLS:
        if shutil.which(tool) and _works(tool):
            return tool
    raise NoContainer(f"no {wanted or 'Docker engine and no podman'} here to run an image with")


@contextmanager
def running(tool: str, image: str, options: Sequence[str] = ()) -> Iterator[Container]:
    """A container of `image`, which is removed in the end whatever happens."""
    name = f"phial-smoke-{uuid.uuid4().hex[:8]}"
    publish = ("--detach", "--name", name, "--publish", f"127.0.0.1::{PORT}")
    try:
        ask(tool, "run", *publish, *options, image)
        yield Container(tool, name, _port(tool, name))
    finally:
        subprocess.run([tool, "rm", "--force", name], capture_output=True, check=False)


def ask(tool: str, *words: str) -> str:
    """What the tool prints; raises `NoContainer` with what it says when it fails."""
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoContainer(f"{tool} {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def _port(tool: str, name: str) -> int:
    deadline = time.monotonic() + _PROBE_S
    while True:
        try:
            return int(ask(tool, "port", name, f"{PORT}/tcp").splitlines()[0].rpartition(":")[2])
        except (NoContainer, IndexError):
            if time.monotonic() > deadline:
                raise NoContainer(f"{name} publishes no port") from None
            time.sleep(0.1)


def _works(tool: str) -> bool:
    asked = ["version", "--format", "{{.Server.Version}}"] if tool == "docker" else ["--version"]
    try:
        done = subprocess.run([tool, *asked], capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
