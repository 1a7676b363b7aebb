"""What several commands share: their parser, the bundle's flag, the bundle itself."""

from __future__ import annotations

import argparse

from edge import bundle, config, flavors
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import StartupError

# Flags that stand for a variable, by the name of the setting.
_FLAGS = ("bundle", "host", "port")


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The parser of `command`, with `--bundle`."""
    made = argparse.ArgumentParser(prog=f"python -m edge {command}", description=description)
    add_bundle(made)
    return made


def add_bundle(made: argparse.ArgumentParser) -> None:
    """The flag that names the bundle."""
    made.add_argument("--bundle", metavar="DIR", help="folder of the bundle (EDGE_BUNDLE)")


def overrides(options: argparse.Namespace) -> dict[str, str]:
    """The variables that flags of the command line stand for."""
    given = {name: getattr(options, name, None) for name in _FLAGS}
    return {config.variable(name): value for name, value in given.items() if value is not None}


def open_bundle(settings: Settings) -> Bundle:
    """The bundle that the settings name, its files checked, and whether it can run here.

    Raises `StartupError`.
    """
    if settings.bundle is None:
        raise StartupError(["no bundle: pass --bundle DIR or set EDGE_BUNDLE"])
    opened = bundle.read(settings.bundle, verify=settings.verify)
    flavors.check(opened.manifest, settings)
    return opened
