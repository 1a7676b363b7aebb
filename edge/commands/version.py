"""`python -m edge version`: what runs here, and which model. No runtime is imported."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge import __version__, bundle, config, runtimes
from edge.bundle import Bundle
from edge.commands import SUMMARIES
from edge.commands.options import overrides, parser
from edge.errors import StartupError


def run(arguments: Sequence[str]) -> int:
    """Print versions and the bundle's lineage; returns 0, with a bundle or without one.

    Raises `StartupError` for bad settings.
    """
    made = parser("version", f"Print {SUMMARIES['version']}.")
    made.add_argument("--json", action="store_true", help="one JSON object")
    options = made.parse_args(arguments)
    found = _described(_bundle(overrides(options)))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{name:<18}  {value}" for name, value in _rows(found)))
    return 0


def _bundle(given: Mapping[str, str]) -> Bundle | None:
    folder = config.from_process(given).bundle
    if folder is None:
        return None
    try:
        return bundle.peek(folder)
    except StartupError as error:
        for problem in error.problems:
            print(f"phial: {problem}", file=sys.stderr)
        return None


def _described(opened: Bundle | None) -> dict[str, Any]:
    """The names are those of `GET /v1/version`."""
    return {
        "phial": __version__,
        "python": platform.python_version(),
        "runtimes": runtimes.versions(),
        "model": _model(opened) if opened else None,
        "bundle_sha256": opened.sha256 if opened else "",
    }


def _model(opened: Bundle) -> dict[str, str | int]:
    manifest, lineage = opened.manifest, opened.manifest.lineage
    return {
        "name": manifest.name,
        "registered_name": lineage.model_name,
        "version": lineage.model_version,
        "alias": lineage.alias,
        "run_id": lineage.run_id,
        "quantization": manifest.quantization,
        "context_length": manifest.context_length,
    }


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """One row a fact; facts that are not known are left out."""
    for name in ("phial", "python"):
        yield name, found[name]
    for name, version in found["runtimes"].items():
        yield name, version or "not installed"
    for name, value in (found["model"] or {}).items():
        if value:
            yield "model" if name == "name" else name.replace("_", " "), value
    if found["bundle_sha256"]:
        yield "bundle sha256", found["bundle_sha256"]
