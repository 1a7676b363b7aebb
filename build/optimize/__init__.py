"""`python -m build optimize MODEL --out DIR`: the export options that pay, found by measuring."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from build import options
from build.errors import EXIT_OK, EXIT_PROBLEMS, OutputRefused

if TYPE_CHECKING:
    from build.optimize.report import Report
    from build.optimize.source import Source
    from build.optimize.trials import Task, Trials

DESCRIPTION = """
Export the Hugging Face folder MODEL in several ways, or change the ONNX folder MODEL in several
ways, measure speed, size and quality of each on the appliance's engine, print the table, and
write the fastest one that keeps the quality into DIR. A variant is named by words joined by +:
b16 to b256 (weights in blocks of so many), embed (embeddings in int4), head (logits of the last
position only), last8 (last MatMul in int8), rtn or kquant (how codes are found), acc1 to acc4
(activations of a MatMul), kv8 (KV cache in int8); stock is the model without any.
"""
WEIGHTS = (
    *("embed+head", "b64+embed+head", "b128+embed+head", "b128+embed+head+last8"),
    *("b128+embed+head+kquant", "b128+embed+head+kquant+last8", "b128+embed+head+kv8"),
)
ONNX = ("head", "embed+head", "b64+embed+head", "b128+embed+head", "embed+head+kv8")


def add_parser(commands: options.Commands) -> None:
    """Add `optimize` to the command line."""
    about = "find the export options that pay, by measuring"
    parser = commands.add_parser("optimize", help=about, description=DESCRIPTION)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--out", type=options.folder, metavar="DIR", help="without: only measure")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add = parser.add_argument_group("what is tried").add_argument
    add("--variant", action="append", metavar="NAME", help="may be repeated; stock is always tried")
    add("--choose", metavar="NAME", help="write this variant, whatever the measurement says")
    add = parser.add_argument_group("how it is measured").add_argument
    add("--rounds", type=options.whole(1, 1000), default=5, metavar="N", help="(%(default)s)")
    add("--prompt-tokens", type=options.whole(1, 2**20), default=512, metavar="N")
    add("--new-tokens", type=options.whole(1, 2**20), default=64, metavar="N")
    add("--threads", type=options.whole(1, 1024), metavar="N", help="default: as the quota allows")
    add("--text", type=Path, metavar="FILE", help="what the model is for, 64 tokens or more")
    add("--text-tokens", type=options.whole(32, 2**20), default=512, metavar="N")
    reference = "what quality is held against; stock spares the export in fp32"
    add("--reference", choices=("unquantized", "stock"), default="unquantized", help=reference)
    add = parser.add_argument_group("what is chosen").add_argument
    loss, agreement = options.real(0, 1000), options.real(0, 100)
    more = "percent more perplexity than the reference's (%(default)s)"
    add("--most-loss", type=loss, default=10, metavar="PERCENT", help=more)
    same = "percent of tokens chosen as the reference does (%(default)s)"
    add("--least-agreement", type=agreement, default=80, metavar="PERCENT", help=same)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; 1 where no variant is good enough."""
    from build.optimize import source
    from build.optimize.trials import Trials
    from build.stages import Stages

    task = task_of(args)
    found = source.find(args.model)
    _check_out(args.out)
    with _scratch(args.out) as scratch:
        trials = Trials(found, _fitting(task, found, args, scratch), scratch, Stages())
        report = trials.run()
        if report.chosen and args.out:
            report.out = str(args.out)
            _publish(trials, report, args.out, scratch)
    print(report.as_json() if args.json else report.as_text())
    return EXIT_OK if report.chosen else EXIT_PROBLEMS


def task_of(args: argparse.Namespace) -> Task:
    """The task of parsed flags; raises `UsageError` with every problem."""
    from build.optimize import quality, variant
    from build.optimize.choice import Bounds
    from build.optimize.measure import Plan
    from build.optimize.trials import Task

    names = [variant.STOCK, *(args.variant or ()), *([args.choose] if args.choose else ())]
    return Task(
        variants=variant.parse_all(names),
        text=quality.read(args.text or quality.TEXT),
        tokens=args.text_tokens,
        plan=Plan(args.rounds, args.prompt_tokens, args.new_tokens),
        bounds=Bounds(args.most_loss / 100, args.least_agreement / 100),
        threads=args.threads or 0,
        against_stock=args.reference == variant.STOCK,
        told=variant.parse(args.choose) if args.choose else None,
    )


def _fitting(task: Task, found: Source, args: argparse.Namespace, scratch: Path) -> Task:
    """The task with the usual variants where none was named."""
    from dataclasses import replace

    from build.optimize import variant
    from build.optimize.workshop import Workshop

    if args.variant or args.choose:
        return task
    workshop = Workshop(found, scratch)
    usual = variant.parse_all(ONNX if found.is_onnx else WEIGHTS)
    return replace(task, variants=(*task.variants, *filter(workshop.is_new, usual)))


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputRefused(f"{out} is not a folder: it is left as it is")
    if out.exists() and any(out.iterdir()):
        raise OutputRefused(f"{out} is not empty: it is left as it is; name a new folder")


@contextmanager
def _scratch(out: Path | None) -> Iterator[Path]:
    """A folder for the variants: beside DIR, so that one of them can become it."""
    from build import workspace

    if out is not None:
        with workspace.beside(out) as made:
            yield made
        return
    with tempfile.TemporaryDirectory(prefix="phial-optimize-") as place:
        yield Path(place)


def _publish(trials: Trials, report: Report, out: Path, scratch: Path) -> None:
    """Make the chosen folder `out`; a source as it is gets copied."""
    from build import positions, workspace
    from build.optimize.source import read_config

    made = trials.folder(report.chosen)
    try:
        if scratch not in made.parents:
            made = Path(shutil.copytree(made, scratch / "copy"))
        positions.open_pruned(made / read_config(made).decoder)
        for part in (made, *made.rglob("*")):
            workspace.sync(part)
        workspace.publish(made, out, replace=False)
    except OSError as error:
        raise OutputRefused(f"cannot write {out}: {error.strerror or error}") from error
