"""Makes an int4 ONNX model of a given shape with random weights, as the factory's demo is made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from build.demo import export, network
from tests.bench import vocabulary
from tests.bench.shapes import Shape

SEED = 11


def make(shape: Shape, folder: Path, options: Mapping[str, str] = export.TUNED_OPTIONS) -> None:
    """Write the onnxruntime-genai folder of a random model of `shape` to `folder`.

    `options` are the model builder's extra ones. Raises `build.errors.BuildFailed`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        weights, exported = Path(scratch, "weights"), Path(scratch, "onnx")
        write_weights(shape, weights)
        export.export(weights, exported, options)
        shutil.rmtree(weights)
        exported.rename(folder)


def write_weights(shape: Shape, folder: Path) -> None:
    """Write the transformers folder of a random model of `shape`, which never ends by itself."""
    tokenizer = vocabulary.widened(shape.vocab_size)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    torch.manual_seed(SEED)
    try:
        built = network.build(
            network.Shape(
                hidden_size=shape.hidden_size,
                layers=shape.layers,
                heads=shape.heads,
                intermediate_size=shape.intermediate_size,
                vocab_size=shape.vocab_size,
                context_length=shape.context_length,
            ),
            tokenizer,
        )
    finally:
        torch.set_default_dtype(before)
    _never_end(built)
    network.save(built, tokenizer, folder)


def never_end(folder: Path, dtype: str) -> None:
    """Make the model of a transformers folder one of `dtype` that never ends by itself."""
    from transformers import AutoModelForCausalLM

    built = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    _never_end(built)
    built.save_pretrained(folder)


def _never_end(built: torch.nn.Module) -> None:
    """Greedy answers of the model run to their limit: its end tokens get a logit of exactly 0."""
    ends = built.generation_config.eos_token_id
    with torch.no_grad():
        built.lm_head.weight[ends] = 0
