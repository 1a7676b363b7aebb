"""`python -m build export URI --out DIR`: a model out of MLflow, into a bundle."""

from __future__ import annotations

import argparse

from build import options
from build.errors import EXIT_OK, EXIT_PROBLEMS

DESCRIPTION = """
Find the model that URI names in MLflow, check it, and write it with everything the appliance
needs into the folder DIR. URI: models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest,
models:/m-ID, runs:/RUN/NAME, mlflow-artifacts:/PATH, or a local folder.
"""


def add_parser(commands: options.Commands) -> None:
    """Add `export` to the command line."""
    parser = commands.add_parser("export", help="MLflow model -> bundle", description=DESCRIPTION)
    parser.add_argument("uri", metavar="URI")
    parser.add_argument("--out", required=True, type=options.folder, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace the bundle in DIR")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options.add_model_flags(parser)
    options.add_generation_flags(parser)
    options.add_store_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Export, print the verdict; 0 where a bundle was written, 1 where there were problems."""
    from build import seal
    from build.progress import Progress

    job = seal.Job(args.uri, options.options_of(args), options.stores_of(args))
    verdict = seal.seal(job, args.out, force=args.force, progress=Progress.for_terminal())
    print(verdict.as_json() if args.json else verdict.as_text())
    return EXIT_OK if verdict.is_good else EXIT_PROBLEMS
