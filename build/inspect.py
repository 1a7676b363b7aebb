"""`python -m build inspect DIR|URI`: what a bundle holds, or what an export would make of a URI."""

from __future__ import annotations

import argparse
from pathlib import Path

from build import options
from build.errors import EXIT_OK, EXIT_PROBLEMS
from edge.bundle import MANIFEST_NAME, encode


def add_parser(commands: options.Commands) -> None:
    """Add `inspect` to the command line."""
    parser = commands.add_parser("inspect", help="show a bundle's manifest, or try a URI")
    parser.add_argument("uri", metavar="DIR|URI")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options.add_model_flags(parser)
    options.add_generation_flags(parser)
    options.add_store_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print a bundle's manifest, or the verdict on a model without writing anything."""
    if (Path(args.uri) / MANIFEST_NAME).is_file():
        return _bundle(Path(args.uri))
    from build import seal
    from build.progress import Progress

    job = seal.Job(args.uri, options.options_of(args), options.stores_of(args))
    verdict = seal.look(job, Progress.for_terminal())
    print(verdict.as_json() if args.json else verdict.as_text())
    return EXIT_OK if verdict.is_good else EXIT_PROBLEMS


def _bundle(folder: Path) -> int:
    from build import bundle

    print(encode(bundle.open_(folder).manifest).decode(), end="")
    return EXIT_OK
