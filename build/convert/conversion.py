"""From a sealed pipeline to an ONNX folder that was held against it, step by step."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from build import contents, log, positions, seal
from build.convert import likeness, parentage
from build.convert.likeness import Account, Likeness
from build.errors import InvalidModel, UnlikeParent
from build.optimize import exporter, source, subjects
from build.optimize.choice import Bounds
from build.optimize.subjects import Subject
from build.optimize.variant import Variant
from build.optimize.workshop import Workshop
from build.progress import Progress
from build.record import Entry
from build.seal import Job
from build.stages import Stages
from build.validate import Model
from edge.bundle import Bundle

_PARENT = "build.convert.parent"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of which model, and how it is judged.

    `job` names the parent; `precision` is `int4` or `fp32`; `threads` 0 leaves their number to
    the engines; `flags` are those of `build.log`, as they were given.
    """

    job: Job
    variant: Variant
    precision: str
    text: str
    text_tokens: int
    prompts: tuple[str, ...]
    answer_tokens: int
    parent_dtype: str
    threads: int
    bounds: Bounds
    flags: argparse.Namespace


def sealed(order: Order, scratch: Path, stages: Stages) -> Bundle:
    """The parent as a bundle below `scratch`.

    Raises `InvalidModel` with every problem, also where the parent is an ONNX model already.
    """
    with stages.stage("parent", order.job.uri):
        verdict = seal.seal(
            order.job, scratch / "parent", force=False, progress=Progress.for_terminal()
        )
        if verdict.bundle is None:
            raise InvalidModel(verdict.findings.problems)
        if verdict.bundle.manifest.flavor != "pipeline":
            raise InvalidModel(
                "the model is an ONNX one already, there is nothing to convert; export, image and "
                "optimize take it as it is"
            )
        return verdict.bundle


def convert(order: Order, bundle: Bundle, scratch: Path, stages: Stages) -> Entry:
    """The converted model, measured and described; its folder lies below `scratch`.

    Raises `BuildError`, of the class `UnlikeParent` where it is not within the bounds.
    """
    flags = parentage.inherited(order.flags, bundle.manifest)
    task = _task(
        order, is_chat=bool(bundle.manifest.chat_template) and flags.prompt_format != "raw"
    )
    with stages.stage("parent", f"reads and answers in {order.parent_dtype}"):
        parents = _account(lambda: _parent(order, bundle, scratch), task)
    with stages.stage("convert", f"{order.variant.name} in {order.precision}"):
        folder = _made(order, bundle, parents, scratch)
        model = log.checked(folder, flags)
    with stages.stage("compare", "the converted model reads and answers"):
        own = _account(lambda: _converted(order, folder, scratch), task, parents)
        found = likeness.compare(own, parents)
        _judge(found, order.bounds)
    with stages.stage("measure"):
        return _entry(order, bundle, model, flags, found)


def _task(order: Order, *, is_chat: bool) -> likeness.Task:
    return likeness.Task(
        order.text, order.text_tokens, order.prompts, order.answer_tokens, is_chat=is_chat
    )


def _account(
    start: Callable[[], AbstractContextManager[Subject]],
    task: likeness.Task,
    parents: Account | None = None,
) -> Account:
    with start() as subject:
        return likeness.account(subject, task, parents.reading if parents else None)


def _parent(order: Order, bundle: Bundle, scratch: Path) -> AbstractContextManager[Subject]:
    terms = {
        "threads": order.threads,
        "dtype": order.parent_dtype,
        "eos_ids": list(bundle.manifest.eos_ids),
        "context_length": bundle.manifest.context_length,
    }
    folder = bundle.model_folder
    surroundings = exporter.SURROUNDINGS
    return subjects.running(_PARENT, folder, "transformers", terms, surroundings, within=scratch)


def _converted(order: Order, folder: Path, scratch: Path) -> AbstractContextManager[Subject]:
    return subjects.started(folder, "the converted model", order.threads, within=scratch)


def _made(order: Order, bundle: Bundle, parents: Account, scratch: Path) -> Path:
    """The ONNX folder; the parent's licence, card and the like come along."""
    workshop = Workshop(source.find(bundle.model_folder), scratch)
    if order.precision == "fp32":
        folder = workshop.unquantized(order.variant)
    else:
        folder = workshop.make(order.variant, parents.reading.calibration)
    positions.open_pruned(folder / source.read_config(folder).decoder)
    for path in sorted(bundle.model_folder.iterdir()):
        if contents.is_paper(path.name) and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def _judge(found: Likeness, bounds: Bounds) -> None:
    problems = list(found.problems(bounds))
    if problems:
        raise UnlikeParent([f"{problem}; nothing is logged" for problem in problems])


def _entry(
    order: Order, bundle: Bundle, model: Model, flags: argparse.Namespace, found: Likeness
) -> Entry:
    entry = log.entry_of(flags, model)
    lineage = bundle.manifest.lineage
    made_as = f"{order.variant.name} in {order.precision}"
    return replace(
        entry,
        params={**entry.params, "variant": order.variant.name, "parent_dtype": order.parent_dtype},
        metrics={**entry.metrics, **found.metrics()},
        tags={**parentage.tags(lineage), **entry.tags},
        description=order.flags.description
        or f"{entry.description}; {parentage.sentence(lineage, made_as, found)}",
        made_of=lineage.model_id,
    )
