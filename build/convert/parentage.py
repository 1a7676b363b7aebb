"""What a converted model takes over from its parent, and how it names it."""

from __future__ import annotations

import argparse
from dataclasses import fields

from build.convert.likeness import Likeness
from edge.bundle import Defaults, Lineage, Manifest

_WRAPPED = {"chat": "chat", "completions": "raw"}


def inherited(flags: argparse.Namespace, parent: Manifest) -> argparse.Namespace:
    """The `flags` of `build.log` with the parent's settings where they say nothing.

    A parent that takes messages wraps them in its chat template, so that a bare prompt is wrapped
    too; one that goes on with a text takes it as it is.
    """
    generation, kind = parent.generation, str(parent.signature.kind)
    said = {item.name: getattr(generation, item.name) for item in fields(Defaults)}
    said["stop"] = list(generation.stop) or None
    said["prompt_format"] = _WRAPPED.get(kind, generation.prompt_format)
    missing = {name: value for name, value in said.items() if getattr(flags, name) is None}
    return argparse.Namespace(**{**vars(flags), **missing})


def tags(lineage: Lineage) -> dict[str, str]:
    """Tags of run, logged model and version; `source_run` is the run that logged the parent.

    MLflow's own `mlflow.parentRunId` is not among them: it nests runs, of one experiment, that
    are parts of one piece of work; a parent may lie in any experiment and was complete.
    """
    found = {
        "phial.parent_uri": lineage.resolved_uri or lineage.source_uri,
        "phial.parent_model": lineage.model_name,
        "phial.parent_version": lineage.model_version,
        "phial.parent_alias": lineage.alias,
        "phial.parent_model_id": lineage.model_id,
        "phial.parent_run_id": lineage.run_id,
        "source_run": lineage.run_id,
    }
    return {key: value for key, value in found.items() if value}


def sentence(lineage: Lineage, made_as: str, found: Likeness) -> str:
    """Where it came from and how like that it is, for the description."""
    name = lineage.resolved_uri or lineage.source_uri
    return (
        f"made of {name} as {made_as}: {found.loss:+.1%} perplexity, {found.agreement:.1%} of "
        f"tokens and {found.same_answers:.0%} of answers the same"
    )
