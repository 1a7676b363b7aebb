"""What a pipeline is, as flat names and values: the parameters of its MLflow run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import edge
from build import traits
from build.pipeline.validate import Model
from build.traits import Traits

_SHOWN = ("precision", "parameters", "context_length")
_MADE_WITH = ("transformers", "torch")


def read(model: Model, folder: Path, task: str) -> Traits:
    """Type, precision, sizes and counts of `model`, which lies in `folder`; sizes in bytes."""
    config = model.config
    return {
        "model_type": config.model_type,
        "architecture": config.architecture,
        "task": task,
        "precision": model.quantization,
        "parameters": model.weights.parameters,
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "layers": config.layers,
        "kv_heads": config.kv_heads,
        "head_size": config.head_size,
        "kv_bytes_per_token": model.kv_bytes_per_token,
        "eos_token_ids": " ".join(map(str, model.eos_ids)),
        **traits.sizes(folder),
    }


def sentence(params: Traits) -> str:
    """The traits a reader asks for first, in a line."""
    return traits.sentence({**params, "block_size": 0})


def tags(params: Traits) -> Mapping[str, str]:
    """What the registry's list of versions should show, and what made the figures."""
    return {
        "phial.version": edge.__version__,
        "phial.task": str(params["task"]),
        **{f"phial.{name}": str(params[name]) for name in _SHOWN},
        **{f"phial.{package}": version(package) for package in _MADE_WITH},
    }
