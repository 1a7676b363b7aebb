"""`python -m build convert URI --name NAME`: a transformers model into an ONNX one, in MLflow."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build import log, options
from build.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from build.convert.conversion import Order

DESCRIPTION = """
Turn the model of MLflow's transformers flavor that URI names into the pyfunc that `log` logs, with
onnxruntime-genai's model builder, hold it against its parent, and log it with tags that say what
it was made of. What a request does not say is taken from the parent unless a flag names it. URI is
what `export` takes, VARIANT what `optimize` takes. Nothing is logged of a model that is too unlike
its parent.
"""
PRECISIONS = ("int4", "fp32")
VARIANTS = {"int4": "b128+embed+head", "fp32": "head"}
"""What is made where no variant is named: see `build.optimize` for what was measured."""


def add_parser(commands: options.Commands) -> None:
    """Add `convert` to the command line."""
    about = "transformers model -> ONNX model, both in MLflow"
    parser = commands.add_parser("convert", help=about, description=DESCRIPTION)
    parser.add_argument("uri", metavar="URI")
    log.add_flags(parser)
    parser.set_defaults(prompt_format=None)  # the parent's
    add = parser.add_argument_group("the parent").add_argument
    add("--allow-pickle", action="store_true", help="take weights that are pickled (.bin, .pt)")
    add("--allow-download", action="store_true", help="fetch what it only names from its hub")
    _add_making_flags(parser)
    _add_quality_flags(parser)


def _add_making_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is made").add_argument
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="of the weights (int4)")
    add("--variant", metavar="NAME", help=f"a variant of `optimize` ({VARIANTS['int4']})")


def _add_quality_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how it is held against its parent").add_argument
    add("--text", type=Path, metavar="FILE", help="what the model is for, 64 tokens or more")
    add("--text-tokens", type=options.whole(32, 2**20), default=512, metavar="N")
    add("--prompt", action="append", metavar="TEXT", help="asked of both; may be repeated")
    add("--answer-tokens", type=options.whole(1, 2**20), default=32, metavar="N")
    wide = "what the parent computes in; bfloat16 takes half the memory (%(default)s)"
    add("--parent-dtype", choices=("float32", "bfloat16", "float16"), default="float32", help=wide)
    add("--threads", type=options.whole(1, 1024), metavar="N", help="default: as the quota allows")
    more = "percent more perplexity than the parent's (%(default)s)"
    add("--most-loss", type=options.real(0, 1000), default=10, metavar="PERCENT", help=more)
    same = "percent of tokens chosen as the parent does (%(default)s)"
    add("--least-agreement", type=options.real(0, 100), default=80, metavar="PERCENT", help=same)


def run(args: argparse.Namespace) -> int:
    """Convert, compare, log; raises `BuildError` with every problem."""
    from build import record, report
    from build.convert import conversion
    from build.optimize import source
    from build.stages import Stages

    order = order_of(args)
    source.check_tools()
    stages = Stages()
    with tempfile.TemporaryDirectory(prefix="phial-convert-") as scratch:
        found = conversion.sealed(order, Path(scratch), stages)
        record.reach(order.job.stores)
        entry = conversion.convert(order, found, Path(scratch), stages)
        with stages.stage("log", args.name):
            receipt = record.record(entry)
    print(report.as_json(entry, receipt) if args.json else report.as_text(entry, receipt))
    return EXIT_OK


def order_of(args: argparse.Namespace) -> Order:
    """What was asked for, as far as flags can tell; raises `UsageError`."""
    from build.convert.conversion import Order
    from build.convert.likeness import PROMPTS
    from build.optimize import quality, variant
    from build.optimize.choice import Bounds
    from build.seal import Job

    chosen = variant.parse(args.variant or VARIANTS[args.precision])
    if args.precision == "fp32" and chosen not in (variant.parse("head"), variant.Variant()):
        raise UsageError(f"--variant is {args.variant!r}, expected head or stock with fp32")
    if any(not prompt for prompt in args.prompt or ()):
        raise UsageError("--prompt is empty, expected what both models are asked")
    return Order(
        job=Job(args.uri, _parent_options(args), options.stores_of(args)),
        variant=chosen,
        precision=args.precision,
        text=quality.read(args.text or quality.TEXT),
        text_tokens=args.text_tokens,
        prompts=tuple(args.prompt or PROMPTS),
        answer_tokens=args.answer_tokens,
        parent_dtype=args.parent_dtype,
        threads=args.threads or 0,
        bounds=Bounds(args.most_loss / 100, args.least_agreement / 100),
        flags=args,
    )


def _parent_options(args: argparse.Namespace) -> options.Options:
    """How the parent is sealed: untried, since it is run anyway, and without code of its own."""
    return options.Options(
        prompt_format=args.prompt_format,
        trial=False,
        allow_pickle=args.allow_pickle,
        allow_download=args.allow_download,
    )
