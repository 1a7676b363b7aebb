"""What a model is called in the registry: name, aliases, description and tags; and its run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

# What MLflow takes (mlflow/utils/validation.py); checked here, before anything is logged.
_NAME = re.compile(r"(?![.]+$)[^/:\x00-\x1f]{1,256}")
_ALIAS = re.compile(r"(?!(?i:latest|v\d+)$)[\w-]{1,255}", re.ASCII)
_TAG = re.compile(r"(?P<key>[\w. /:-]{1,250})=(?P<value>.*)", re.DOTALL)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the model."""
    add = parser.add_argument_group("the name").add_argument
    add("--name", required=True, type=_matching(_NAME, "a name without / and :"))
    add("--register", action="store_true", help="make a version of the registered model NAME")
    alias = _matching(_ALIAS, "letters, digits, _ and -, and neither latest nor v1, v2 ...")
    about = "give the new version this name (registers it); may be repeated"
    add("--alias", action="append", default=[], type=alias, help=about)
    add("--description", default="", metavar="TEXT", help="of the version (default: its traits)")
    about = "on run, model and version; may be repeated"
    add("--tag", action="append", default=[], type=_tag, metavar="KEY=VALUE", help=about)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the run that records the model."""
    add = parser.add_argument_group("the run").add_argument
    add("--experiment", default="", metavar="NAME", help="made where it does not exist")
    add("--run-name", default="", metavar="NAME")
    add("--card", action="append", default=[], type=_file, metavar="FILE", help="kept with the run")
    add("--no-measure", action="store_true", help="log no speed and ask no questions")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a file")
    return path


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text) or not text.strip():
            raise argparse.ArgumentTypeError(f"is {text!r}, expected {expected}")
        return text

    return parse


def _tag(text: str) -> tuple[str, str]:
    found = _TAG.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected KEY=VALUE")
    return found["key"], found["value"]
