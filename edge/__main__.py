"""`python -m edge [COMMAND]`: the appliance's command line; without a command it serves."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from edge.commands import DEFAULT, SUMMARIES
from edge.errors import StartupError

UNUSABLE = 2
_CUT_OFF = 1


class Command(Protocol):
    """What a module must have to be a command."""

    def run(self, arguments: Sequence[str]) -> int:
        """Do the work; returns the exit status, raises `StartupError`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status, 2 where settings or bundle are unusable."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else DEFAULT
    if name not in SUMMARIES:
        _refuse(name)
    try:
        return command(name).run(words)
    except StartupError as error:
        for problem in error.problems:
            print(f"phial: {problem}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:
        # Who read our output has left; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CUT_OFF


def command(name: str) -> Command:
    """The module of the command `name`."""
    return cast(Command, importlib.import_module(f"edge.commands.{name}"))


def _refuse(name: str) -> None:
    import difflib

    near = difflib.get_close_matches(name, SUMMARIES, n=1)
    hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(SUMMARIES)}"
    print(
        f"usage: python -m edge [{'|'.join(SUMMARIES)}] ...\nphial: no command {name!r}{hint}",
        file=sys.stderr,
    )
    raise SystemExit(UNUSABLE)


if __name__ == "__main__":
    sys.exit(main())
