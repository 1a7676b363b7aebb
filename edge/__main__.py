"""`python -m edge`: read the settings, check the bundle, start gunicorn."""

from __future__ import annotations

import argparse
import functools
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge import __version__, bundle, config, log
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import StartupError

if TYPE_CHECKING:
    from edge.app import App
    from edge.engine.scripted import Script

_UNUSABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; returns the exit status: 0 after a drain, 2 for a bad start."""
    options = _parser().parse_args(arguments)
    config.silence_telemetry()
    try:
        settings = config.from_process(_overrides(options))
        log.start(settings.log_level)
        server = _server(settings, options.scripted)
    except StartupError as error:
        for problem in error.problems:
            print(f"phial: {problem}", file=sys.stderr)
        return _UNUSABLE
    try:
        server()
    except SystemExit as end:
        return _UNUSABLE if end.code else 0
    return 0


def _server(settings: Settings, script: Script | None) -> Callable[[], None]:
    """Everything that can be found wrong without loading the model is found here."""
    opened, *_ = _all(
        lambda: _open(settings) if script is None else None,
        lambda: config.api_keys(settings),
        lambda: _check_address(settings),
    )

    from edge.gunicorn_conf import Server

    return Server(settings, functools.partial(_wire, settings, opened, script)).run


def _open(settings: Settings) -> Bundle:
    if settings.bundle is None:
        raise StartupError(["no bundle: pass --bundle DIR or set EDGE_BUNDLE"])
    return bundle.read(settings.bundle, verify=settings.verify)


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


def _check_address(settings: Settings) -> None:
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


def _overrides(options: argparse.Namespace) -> dict[str, str]:
    given = {"bundle": options.bundle, "host": options.host, "port": options.port}
    return {config.variable(name): value for name, value in given.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    settings = "\n".join(
        f"  {name}{default and f' (default {default})'}\n      {doc}"
        for name, default, doc in config.describe()
    )
    parser = argparse.ArgumentParser(
        prog="python -m edge",
        description="Serve a bundle over the OpenAI API and MLflow's scoring protocol.",
        epilog=f"environment:\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", metavar="DIR", help="folder of the bundle (EDGE_BUNDLE)")
    parser.add_argument("--host", help="address to listen on (EDGE_HOST)")
    parser.add_argument("--port", help="port to listen on (EDGE_PORT)")
    parser.add_argument(
        "--scripted",
        choices=("echo", "echo_params"),
        help="serve a scripted model that needs no bundle, for tests of clients",
    )
    parser.add_argument("--version", action="version", version=f"phial {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
