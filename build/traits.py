"""What a model folder is, as flat names and values: the parameters of its MLflow run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from build import weights
from build.validate import Model

MOST_FILES = 24
PARAM_NAME = re.compile(r"[\w. /-]+")  # what MLflow takes as the name of a parameter

Traits = Mapping[str, str | int]


def read(model: Model) -> Traits:
    """Type, precision, sizes and counts of `model`; sizes are in bytes.

    `parameters` counts weights; `kv_bytes_per_token` is the memory that each token of context
    takes. Raises `InvalidModel` where the decoder is no ONNX graph.
    """
    config = model.config
    stored = weights.read(model.folder / config.decoder)
    return {
        "model_type": config.model_type,
        "precision": stored.precision,
        "embedding_precision": stored.embedding_precision,
        "block_size": stored.block_size,
        "accuracy_level": stored.accuracy_level,
        "parameters": stored.parameters,
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "layers": config.layers,
        "kv_heads": config.kv_heads,
        "head_size": config.head_size,
        "kv_bytes_per_token": model.decoder.kv_bytes_per_token,
        "eos_token_ids": " ".join(map(str, config.eos_ids)),
        **sizes(model.folder),
    }


def sizes(folder: Path) -> Traits:
    """The size of the folder and of its largest files, in bytes."""
    files = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    largest = sorted(files, key=lambda path: (-files[path], path))[:MOST_FILES]
    names = {path: f"file_bytes/{path.relative_to(folder).as_posix()}" for path in largest}
    return {
        "total_bytes": sum(files.values()),
        "files": len(files),
        **{name: files[path] for path, name in names.items() if PARAM_NAME.fullmatch(name)},
    }


def sentence(traits: Traits) -> str:
    """The traits a reader asks for first, in a line."""
    count = int(traits["parameters"])
    size = f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"
    blocks = f" in blocks of {traits['block_size']}" if traits["block_size"] else ""
    return (
        f"{traits['model_type']}, {size} parameters, {traits['precision']}{blocks}, "
        f"context {traits['context_length']}"
    )
