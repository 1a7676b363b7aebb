"""`python -m build.demo`: make the demo model step by step, and measure it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from build.demo import corpus, layout

FOLDER = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; the exit status: 0, or 1 where the evaluation misses a bar."""
    parsed = parser().parse_args(arguments)
    status: int = parsed.run(parsed)
    return status


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m build.demo", description=__doc__)
    steps = top.add_subparsers(dest="step", required=True)
    data = steps.add_parser("data", help="print chats of the training corpus")
    data.add_argument("--count", type=int, default=20)
    data.add_argument("--seed", type=int, default=1)
    data.set_defaults(run=_data)
    train = steps.add_parser(
        "train", help="train the model (needs torch; under an hour on 2 cores)"
    )
    train.add_argument("--out", type=Path, required=True, help="folder for checkpoint and weights")
    train.add_argument("--threads", type=int, help="threads that torch may use")
    train.set_defaults(run=_train)
    export = steps.add_parser("export", help="export torch weights to int4 ONNX (needs torch)")
    export.add_argument("--weights", type=Path, default=FOLDER / "weights")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument("--stock", action="store_true", help="the model builder's default options")
    export.set_defaults(run=_export)
    evaluate = steps.add_parser("evaluate", help="print how many answers are right")
    evaluate.add_argument("--model", type=Path, default=FOLDER / "model")
    evaluate.add_argument("--full", action="store_true", help="every country in every phrasing")
    evaluate.add_argument("--json", action="store_true")
    evaluate.add_argument("--misses", action="store_true", help="print the wrong answers too")
    evaluate.set_defaults(run=_evaluate)
    return top


def _data(parsed: argparse.Namespace) -> int:
    for chat in islice(corpus.chats(parsed.seed, 0, parsed.count), parsed.count):
        print(layout.text(chat), end="\n\n")
    return 0


def _train(parsed: argparse.Namespace) -> int:
    import torch

    from build.demo import train

    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    recipe = train.Recipe()
    train.train(recipe, parsed.out, lambda line: print(line, flush=True))
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from build.demo import export

    options = {} if parsed.stock else export.TUNED_OPTIONS
    export.export(parsed.weights, parsed.out, options)
    return 0


def _evaluate(parsed: argparse.Namespace) -> int:
    from build.demo import evaluate
    from build.demo.questions import questions

    result = evaluate.evaluate(evaluate.Respondent(parsed.model), questions(parsed.full))
    if parsed.json:
        print(evaluate.as_json(result))
    else:
        print("\n".join(evaluate.table(result)))
    if parsed.misses and not parsed.json:
        for miss in result.misses:
            print(f"{miss.group}: {miss.question!r} -> {miss.said!r}, not {miss.expected!r}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
