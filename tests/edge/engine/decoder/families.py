"""Tiny models of many architectures with random weights, as onnxruntime-genai's builder exports
them: `python -m tests.edge.engine.decoder.families FOLDER` writes them all, one folder each.

It runs as a process of its own: torch takes seconds to load, and the builder puts bare module
names on the import path.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from os import environ
from pathlib import Path
from unittest import mock

from build.demo.export import TUNED_OPTIONS
from build.optimize.exporter import SURROUNDINGS

CONTEXT = 512
WINDOW = 24
# Weights as wide as a trained model's: with transformers' 0.02 attention hardly matters.
_SPREAD = 0.09
_SEED = 5
_TUNED = tuple(f"{name}={value}" for name, value in TUNED_OPTIONS.items())
# Activations stay floats: every way to cut the work gives the same logits to six digits. The
# default level rounds them to eight bits, and kernels for one and for many rows round differently.
_EXACT = (*_TUNED, "accuracy_level=1")
_OTHER_PROCESSOR = "for another processor"
# Name: architecture, precision, options of the builder.
EXPORTS = {
    "phi3": ("phi3", "int4", _EXACT),
    "llama": ("llama", "int4", _EXACT),
    "qwen2": ("qwen2", "int4", _EXACT),
    "qwen3": ("qwen3", "int4", _EXACT),
    "gemma2": ("gemma2", "int4", _EXACT),
    "positions": ("llama", "int4", _EXACT),
    "whole": ("llama", "fp32", ()),
    "phi3-tuned": ("phi3", "int4", _TUNED),
    "llama-tuned": ("llama", "int4", _TUNED),
    "qwen2-tuned": ("qwen2", "int4", _TUNED),
    "qwen3-tuned": ("qwen3", "int4", _TUNED),
    "half": ("llama", "int4", (*_EXACT, _OTHER_PROCESSOR)),
    "mistral": ("mistral", "int4", _EXACT),
    "plain-attention": ("llama", "fp16", ()),
    "switching": ("longrope", "int4", _TUNED),
}


def _models():
    """A function for each architecture that makes its random model."""
    import transformers as t

    sizes = {
        "vocab_size": 3072,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "initializer_range": _SPREAD,
    }
    local = {"head_dim": 32, "sliding_window": WINDOW, "num_key_value_heads": 2}
    long = {
        "max_position_embeddings": 2 * CONTEXT,
        "original_max_position_embeddings": CONTEXT,
        "rope_parameters": {
            "rope_type": "longrope",
            "type": "longrope",  # the builder's name for it
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 16,
            "long_factor": [2.0] * 16,
        },
    }
    whole = {"original_max_position_embeddings": CONTEXT}
    return {
        "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**sizes, **whole, num_key_value_heads=4)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**sizes, num_key_value_heads=2)),
        "qwen2": lambda: t.Qwen2ForCausalLM(
            t.Qwen2Config(**sizes, num_key_value_heads=2, tie_word_embeddings=True)
        ),
        # One key and value head for four, and heads wider than the hidden size allots.
        "qwen3": lambda: t.Qwen3ForCausalLM(
            t.Qwen3Config(**sizes, num_key_value_heads=1, head_dim=64)
        ),
        "gemma2": lambda: t.Gemma2ForCausalLM(
            t.Gemma2Config(**sizes, **local, query_pre_attn_scalar=32)
        ),
        "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**sizes, **local)),
        "longrope": lambda: t.Phi3ForCausalLM(t.Phi3Config(**sizes | long, num_key_value_heads=4)),
    }


def _write_weights(folder: Path, vocabulary: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import GenerationConfig

    from build.demo import tokenizer

    for name, make in _models().items():
        torch.manual_seed(_SEED)
        model = make()
        model.generation_config = GenerationConfig(
            bos_token_id=0, eos_token_id=[4, 0], pad_token_id=0
        )
        model.to(torch.float16).save_pretrained(folder / name)
        tokenizer.save(Tokenizer.from_file(str(vocabulary)), folder / name, CONTEXT)


def _export(name: str, weights: Path, folder: Path) -> None:
    from onnxruntime_genai.models import builder

    architecture, precision, options = EXPORTS[name]
    processor = "cuda" if _OTHER_PROCESSOR in options else "cpu"
    options = [option for option in options if option != _OTHER_PROCESSOR]
    places = (None, str(weights / architecture), str(folder / name), precision, processor)
    cache = str(folder / ".cache")
    with ExitStack() as stack:
        if name == "positions":  # as exports for other processors: rotated outside of attention
            for fused in ("is_fused_rope_supported", "is_packed_matmul_supported"):
                stack.enter_context(
                    mock.patch.object(builder.LlamaModel, fused, return_value=False)
                )
        extra = builder.parse_extra_options(*places, cache, [*options, "hf_token=false"])
        builder.create_model(*places, cache, **extra)
    if processor != "cpu":
        _run_anywhere(folder / name / "genai_config.json")


def _run_anywhere(path: Path) -> None:
    config = json.loads(path.read_text())
    config["model"]["decoder"]["session_options"]["provider_options"] = []
    path.write_text(json.dumps(config))


def main(folder: Path, vocabulary: Path) -> None:
    """Write every export below `folder`; `vocabulary` is a tokenizer.json of 3072 entries."""
    environ.update(SURROUNDINGS)
    weights = folder / ".weights"
    _write_weights(weights, vocabulary)
    for name in EXPORTS:
        _export(name, weights, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
