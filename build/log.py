"""`python -m build log ONNX_DIR --name NAME`: a model folder into MLflow.

Everything is checked and measured before MLflow hears of it: a folder that cannot be served
leaves no run behind.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edge
from build import genai_config, naming, options
from build.errors import EXIT_OK, InvalidModel
from edge.bundle import Defaults, Lineage

if TYPE_CHECKING:
    from build.record import Entry
    from build.traits import Traits
    from build.validate import Model

TEMPERATURE = 0.2
FORMATS = ("auto", "chat", "raw")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `log` to the command line."""
    about = "log an ONNX model folder to MLflow"
    parser = commands.add_parser("log", help=about, description=__doc__)
    parser.add_argument("folder", type=Path, metavar="ONNX_DIR", help="an onnxruntime-genai folder")
    naming.add_flags(parser)
    naming.add_run_flags(parser)
    questions = "ask so many of the demo model's questions (default: 300, of the demo model only)"
    parser.add_argument("--questions", type=int, metavar="COUNT", help=questions)
    options.add_generation_flags(parser)
    wrapping = "how a bare prompt becomes tokens"
    parser.add_argument("--prompt-format", choices=FORMATS, default="auto", help=wrapping)
    options.add_store_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Log the model; raises `BuildError` with every problem."""
    from build import record, report

    model = _validated(args)
    record.reach(options.stores_of(args))
    entry = _entry(args, model)
    receipt = record.record(entry)
    print(report.as_json(entry, receipt) if args.json else report.as_text(entry, receipt))
    return EXIT_OK


def _validated(args: argparse.Namespace) -> Model:
    from build.findings import Findings
    from build.source import Source
    from build.validate import validate

    if not args.folder.is_dir():
        raise InvalidModel(f"ONNX_DIR is {str(args.folder)!r}, expected a folder")
    if not (args.folder / genai_config.NAME).is_file():
        raise InvalidModel(f"ONNX_DIR {str(args.folder)!r} has no {genai_config.NAME}")
    wanted = options.Options(prompt_format=args.prompt_format, generation=_named(args))
    return validate(Source(args.folder, Lineage(), args.name), wanted, Findings())


def _named(args: argparse.Namespace) -> dict[str, Any]:
    """The generation settings that the flags name."""
    names = [item.name for item in fields(Defaults) if item.name != "prompt_format"]
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _entry(args: argparse.Namespace, model: Model) -> Entry:
    from build import traits
    from build.record import Entry

    params = traits.read(model)
    return Entry(
        folder=model.folder,
        name=args.name,
        config=_config(args, model),
        params=params,
        metrics={} if args.no_measure else _metrics(args, model),
        tags={**own_tags(params), **dict(args.tag)},
        description=args.description or traits.sentence(params),
        cards=tuple(args.card),
        is_registered=args.register or bool(args.alias),
        aliases=tuple(args.alias),
        experiment=args.experiment,
        run_name=args.run_name,
    )


def _config(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    """The `model_config`: each default written out, so that the model's home cannot change it.

    A folder that asks for greedy decoding says so by default rather than by choice (the model
    builder writes it), so its temperature does not count.
    """
    chosen = model.generation
    is_said = args.temperature is not None or model.config.search.get("do_sample")
    return {
        "max_tokens": chosen.max_tokens,
        "temperature": chosen.temperature if is_said else TEMPERATURE,
        "top_p": 1.0 if chosen.top_p is None else chosen.top_p,
        "top_k": chosen.top_k or 0,
        "repetition_penalty": chosen.repetition_penalty or 1.0,
        "stop": list(chosen.stop),
        "seed": chosen.seed,
        "prompt_format": chosen.prompt_format,
    }


def _metrics(args: argparse.Namespace, model: Model) -> dict[str, float]:
    from build import answers
    from build.measure import measure

    count = args.questions
    if count is None:
        count = answers.SAMPLE if answers.is_demo(model.folder) else 0
    speed = measure(model.folder, model.config.context_length).metrics()
    return {**speed, **(answers.metrics(model.folder, count) if count else {})}


def own_tags(params: Traits) -> dict[str, str]:
    """What the registry's list of versions should show, and what made the figures."""
    made_with = ("onnxruntime-genai", "onnxruntime")
    shown = ("precision", "block_size", "parameters", "context_length")
    return {
        "phial.version": edge.__version__,
        **{f"phial.{name}": str(params[name]) for name in shown},
        **{f"phial.{package.replace('-', '_')}": version(package) for package in made_with},
    }
