"""Progress of a command that goes through stages, and the stage's name on what fails in it."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from build.errors import BuildError, BuildFailed


class Stages:
    """Prints a line a stage on standard error, with the seconds since the start."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self._started_s = time.monotonic()
        self._is_silent = is_silent

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_s

    def say(self, text: str) -> None:
        """One line of progress."""
        if not self._is_silent:
            print(f"[{self.spent_s:6.1f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Announce a stage; a `BuildError` that leaves it says its name.

        A disk that is full, or cannot be written, becomes `BuildFailed`.
        """
        self.say(f"{name}: {detail}" if detail else name)
        try:
            yield
        except BuildError as error:
            raise type(error)([f"{name}: {problem}" for problem in error.problems]) from error
        except OSError as error:
            advice = "; TMPDIR may name a larger disk" if error.errno == errno.ENOSPC else ""
            raise BuildFailed(f"{name}: {error.strerror or error}{advice}") from error
