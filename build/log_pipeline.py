"""`python -m build log-pipeline HF_DIR --name NAME`: a Hugging Face folder into MLflow.

It is logged with MLflow's transformers flavor. Everything is checked and measured before MLflow
hears of it: a folder that cannot be served leaves no run behind.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from build import naming, options
from build.errors import EXIT_OK, InvalidModel
from build.pipeline.flavor import CHAT, TASKS, TEXT, is_pipeline
from edge.bundle import Lineage

if TYPE_CHECKING:
    from build.pipeline.validate import Model
    from build.record import Entry

# What holds where neither flags nor generation_config.json say anything.
MAX_TOKENS, TEMPERATURE = 300, 0.2
OTHERWISE: Mapping[str, Any] = {"max_tokens": MAX_TOKENS, "temperature": TEMPERATURE, "top_k": 0}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `log-pipeline` to the command line."""
    about = "log a Hugging Face folder to MLflow"
    parser = commands.add_parser("log-pipeline", help=about, description=__doc__)
    parser.add_argument("folder", type=Path, metavar="HF_DIR", help="config, weights, tokenizer")
    parser.add_argument("--task", choices=TASKS, default=CHAT, help="default: %(default)s")
    naming.add_flags(parser)
    naming.add_run_flags(parser)
    options.add_sampling_flags(parser)
    options.add_store_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Log the model; raises `BuildError` with every problem."""
    from build import record, report
    from build.pipeline import loaded
    from build.pipeline.record import as_pipeline

    loaded.check_packages()
    model = _validated(args)
    pipeline, load_s = loaded.load(args.folder)
    record.reach(options.stores_of(args))
    entry = _entry(args, model, {} if args.no_measure else _speed(pipeline, model, load_s))
    receipt = record.record(entry, as_pipeline(pipeline, args.task))
    print(report.as_json(entry, receipt) if args.json else report.as_text(entry, receipt))
    return EXIT_OK


def _validated(args: argparse.Namespace) -> Model:
    from build.findings import Findings
    from build.pipeline.validate import validate
    from build.source import Source

    if not args.folder.is_dir():
        raise InvalidModel(f"HF_DIR is {str(args.folder)!r}, expected a folder")
    if not is_pipeline(args.folder, None):
        raise InvalidModel(
            f"HF_DIR {str(args.folder)!r} is no Hugging Face folder: it has no config.json, or "
            "is an MLflow or ONNX model already"
        )
    wanted = options.Options(
        prompt_format="chat" if args.task == CHAT else None, generation=_named(args)
    )
    with TemporaryDirectory(prefix="phial-log-") as work:
        return validate(Source(args.folder, Lineage(), args.name), wanted, Findings(), Path(work))


def _named(args: argparse.Namespace) -> dict[str, Any]:
    """The generation settings that the flags name."""
    names = ("max_tokens", "temperature", "top_p", "top_k", "repetition_penalty")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _entry(args: argparse.Namespace, model: Model, metrics: Mapping[str, float]) -> Entry:
    from build.pipeline import traits
    from build.record import Entry

    params = traits.read(model, args.folder, args.task)
    return Entry(
        folder=args.folder,
        name=args.name,
        config=_config(args),
        params=params,
        metrics=metrics,
        tags={**traits.tags(params), **dict(args.tag)},
        description=args.description or traits.sentence(params),
        cards=tuple(args.card),
        is_registered=args.register or bool(args.alias),
        aliases=tuple(args.alias),
        experiment=args.experiment,
        run_name=args.run_name,
    )


def _config(args: argparse.Namespace) -> dict[str, Any]:
    """The `model_config`, in the words of transformers' `generate`, each default written out.

    A pipeline left to itself samples, so that greedy decoding has to be said.
    """
    from build.findings import Findings
    from build.pipeline import config, settings
    from build.pipeline.config import GENERATION_CONFIG

    path = args.folder / GENERATION_CONFIG
    said = (config.load(path, Findings()) or {}) if path.is_file() else {}
    wanted = options.Options(generation=_named(args))
    chosen = settings.gather(wanted, {}, {}, said, Findings(), OTHERWISE)
    sampling = {
        "temperature": chosen.temperature,
        "top_p": 1.0 if chosen.top_p is None else chosen.top_p,
        "top_k": chosen.top_k or 0,
    }
    return {
        "max_new_tokens": chosen.max_tokens,
        "do_sample": bool(chosen.temperature),
        **(sampling if chosen.temperature else {}),
        "repetition_penalty": chosen.repetition_penalty or 1.0,
        **({"return_full_text": False} if args.task == TEXT else {}),
    }


def _speed(pipeline: Any, model: Model, load_s: float) -> Mapping[str, float]:
    from build.pipeline.measure import measure

    return measure(pipeline, model.config.context_length, load_s).metrics()
