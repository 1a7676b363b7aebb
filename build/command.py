"""Runs a program of somebody else's; what it says is shown, or kept for the day it fails."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from build import scrub
from build.errors import BuildError

_KEPT_LINES = 25


def run(
    command: Sequence[str],
    what: str,
    *,
    error: type[BuildError],
    is_loud: bool = False,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `command` to its end; `is_loud` shows its output on standard error as it comes.

    Raises `error` that says `what` failed, with the end of the output.
    """
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    last.append(line.rstrip())
                    if is_loud:
                        print(line, end="", file=sys.stderr, flush=True)
                process.wait()
            finally:
                if process.poll() is None:  # interrupted: the tool must not go on alone
                    process.terminate()
    except OSError as failure:
        raise error(f"{command[0]} cannot be started: {failure.strerror}") from failure
    if process.returncode:
        raise error(_failure(command[0], what, process.returncode, [] if is_loud else list(last)))


def _failure(program: str, what: str, status: int, lines: Sequence[str]) -> str:
    said = "".join(f"\n    {scrub.credentials(line)}" for line in lines if line)
    return f"{what}: {program} ended with status {status}" + (f" after saying:{said}" * bool(said))
