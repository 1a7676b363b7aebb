"""Logs a transformers pipeline with MLflow's flavor for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, Schema

from build.interface import EXAMPLE_PROMPT
from build.pipeline.flavor import CHAT, COMPLETIONS, TEXT
from build.record import Entry, Log

REQUIRED = ("mlflow", "torch", "transformers", "accelerate")
EXAMPLES: Mapping[str, Any] = {
    CHAT: {"messages": [{"role": "user", "content": EXAMPLE_PROMPT}], "max_tokens": 32},
    COMPLETIONS: {"prompt": EXAMPLE_PROMPT, "max_tokens": 32},
    TEXT: EXAMPLE_PROMPT,
}


def as_pipeline(pipeline: Any, task: str) -> Log:
    """A way to log `pipeline` (of transformers) with the MLflow task `task`."""

    def log(entry: Entry, name: str) -> ModelInfo:
        info: ModelInfo = mlflow.transformers.log_model(
            name=name,
            transformers_model=pipeline,
            task=task,
            model_config=dict(entry.config),
            model_card=_card(entry),
            signature=_signature(task),
            input_example=EXAMPLES[task],
            pip_requirements=requirements(),
            params=dict(entry.params),
            tags=dict(entry.tags),
        )
        return info

    return log


def requirements() -> list[str]:
    """The packages that the logged model needs, pinned to those installed here.

    Without the local part of a version, such as `+cpu`, which no package index has.
    """
    found = (package for package in REQUIRED if find_spec(package))
    return [f"{package}=={version(package).partition('+')[0]}" for package in found]


def _signature(task: str) -> ModelSignature | None:
    """MLflow sets that of `llm/v1/...` by itself and refuses another."""
    if task != TEXT:
        return None
    return ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("string")]))


def _card(entry: Entry) -> Any:
    """The folder's model card, else one made of the traits; with a card MLflow asks no hub."""
    from huggingface_hub import ModelCard

    cards = sorted(entry.folder.glob("README.md"))
    text = cards[0].read_text("utf-8", "replace") if cards else ""
    return ModelCard(
        text or f"# {entry.name}\n\n{entry.description}\n", ignore_metadata_errors=True
    )
