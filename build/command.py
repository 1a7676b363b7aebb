"""Runs a program of somebody else's; what it says is shown, or kept for the day it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from build import scrub
from build.errors import BuildError

_KEPT_LINES = 25
_FRAME = re.compile(r'  File ".*", line \d+')  # as Python writes a traceback


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


def _without_frames(lines: Sequence[str]) -> Sequence[str]:
    """What a Python program said last, without the frames of the traceback that it died with."""
    frames = [place for place, line in enumerate(lines) if _FRAME.match(line)]
    if not frames:
        return lines
    after = lines[frames[-1] + 1 :]
    return [line for line in after if not line.startswith(" ")]


def _failure(program: str, what: str, status: int, lines: Sequence[str]) -> str:
    told = [line for line in _without_frames(lines) if line]
    said = "".join(f"\n    {scrub.credentials(line)}" for line in told)
    return f"{what}: {program} ended with status {status}" + (f" after saying:{said}" * bool(said))
