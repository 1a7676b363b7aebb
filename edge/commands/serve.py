"""`python -m edge serve`: read the settings, check the bundle, start gunicorn."""

from __future__ import annotations

import argparse
import functools
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge import __version__, config, log
from edge.bundle import Bundle
from edge.commands import SUMMARIES
from edge.commands.options import add_bundle, open_bundle, overrides
from edge.config import Settings
from edge.errors import StartupError

if TYPE_CHECKING:
    from edge.app import App
    from edge.engine.scripted import Script

_UNUSABLE = 2


def run(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit status: 0 after a drain, 2 for a bad start.

    Raises `StartupError` with everything that can be found wrong without loading the model.
    """
    options = _parser().parse_args(arguments)
    config.silence_telemetry()
    settings = config.from_process(overrides(options))
    log.start(settings.log_level)
    server = _server(settings, options.scripted)
    try:
        server()
    except SystemExit as end:
        return _UNUSABLE if end.code else 0
    return 0


def check_address(settings: Settings) -> None:
    """Raises `StartupError` where nobody can listen on the address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartupError(
            [f"cannot listen on EDGE_HOST {settings.host}, EDGE_PORT {settings.port}: {reason}"]
        ) from error


def _server(settings: Settings, script: Script | None) -> Callable[[], None]:
    opened, *_ = _all(
        lambda: open_bundle(settings) if script is None else None,
        lambda: config.api_keys(settings),
        lambda: check_address(settings),
    )

    from edge.gunicorn_conf import Server

    return Server(settings, functools.partial(_wire, settings, opened, script)).run


def _all(*checks: Callable[[], Any]) -> list[Any]:
    """The results of every check; raises `StartupError` with the problems of all of them."""
    results, problems = [], []
    for check in checks:
        try:
            results.append(check())
        except StartupError as error:
            problems += error.problems
    if problems:
        raise StartupError(problems)
    return results


def _wire(settings: Settings, opened: Bundle | None, script: Script | None) -> App:
    # Imported in the worker: the arbiter needs none of it in its memory.
    from edge import app

    served = app.from_bundle(opened, settings) if opened else app.from_script(script or "echo")
    return app.App(settings, served)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge",
        usage=f"%(prog)s [{'|'.join(SUMMARIES)}] [options]",
        description="Serve a bundle over the OpenAI API and MLflow's scoring protocol.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_bundle(parser)
    parser.add_argument("--host", help="address to listen on (EDGE_HOST)")
    parser.add_argument("--port", help="port to listen on (EDGE_PORT)")
    parser.add_argument(
        "--scripted",
        choices=("echo", "echo_params"),
        help="serve a scripted model that needs no bundle, for tests of clients",
    )
    parser.add_argument("--version", action="version", version=f"phial {__version__}")
    return parser


def _epilog() -> str:
    commands = "\n".join(f"  {name:<8}  {summary}" for name, summary in SUMMARIES.items())
    settings = "\n".join(
        f"  {name}{default and f' (default {default})'}\n      {doc}"
        for name, default, doc in config.describe()
    )
    return (
        f"commands (`python -m edge COMMAND --help` tells more):\n{commands}\n\n"
        f"environment:\n{settings}"
    )
