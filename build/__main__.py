"""`python -m build COMMAND`: the factory's command line.

A command is a module of this package with `add_parser(commands)`, which adds its parser, and
`run(args) -> int`, which does the work and returns the exit status. Both import what is heavy
only when they need it: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from build import telemetry
from build.errors import EXIT_PROBLEMS, EXIT_USAGE, BuildError, UsageError

COMMANDS = ("optimize", "log", "log-pipeline", "export", "verify", "inspect", "image", "fetch")
INTERRUPTED = 130

Commands = argparse._SubParsersAction  # the only name argparse has for it


class Command(Protocol):
    """What a module must have to be a command."""

    def add_parser(self, commands: Commands[argparse.ArgumentParser]) -> None:
        """Add the command's parser, with its options, to `commands`."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; returns the exit status, raises `BuildError` or `UsageError`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 problems, 2 usage."""
    telemetry.silence()
    args = parser().parse_args(argv)
    try:
        return command(args.command).run(args)
    except UsageError as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BuildError as error:
        for problem in error.problems:
            print(f"{args.command}: {problem}", file=sys.stderr)
        return EXIT_PROBLEMS
    except KeyboardInterrupt:
        print(f"{args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def command(name: str) -> Command:
    """The module of the command `name`, in which a hyphen becomes an underscore."""
    return cast(Command, importlib.import_module(f"build.{name.replace('-', '_')}"))


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(prog="python -m build", description="The model factory.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command(name).add_parser(commands)
    return whole


if __name__ == "__main__":
    # Being told to stop is like Ctrl-C: what was begun is tidied away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
