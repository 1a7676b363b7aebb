"""`config.json` of a Hugging Face folder, as far as the factory reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.findings import Findings
from build.pipeline.flavor import CONFIG

GENERATION_CONFIG = "generation_config.json"
# A decoder's class ends so; of the rest of transformers' causal models all read more than text.
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_TEXT_SECTIONS = ("text_config",)
# What architectures call the same thing.
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")


@dataclass(frozen=True, slots=True)
class Config:
    """The model by its `config.json`; sizes are in elements, 0 where the file does not say."""

    model_type: str
    architecture: str
    context_length: int
    layers: int
    kv_heads: int
    head_size: int
    vocab_size: int
    eos_ids: tuple[int, ...]
    is_tied: bool
    code_files: tuple[str, ...]

    @property
    def kv_elements_per_token(self) -> int:
        """Elements of keys and values that one token takes, at most: of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size


def read(folder: Path, architecture: str, findings: Findings) -> Config | None:
    """Read and check the file; None where it is unusable, with the problems in `findings`."""
    data = load(folder / CONFIG, findings)
    if data is None:
        return None
    text = _text(data)
    named = data.get("architectures")
    listed = [str(name) for name in named] if isinstance(named, list) else []
    found = _config(data, text, listed[0] if listed else architecture)
    findings.problems += [*_kind_problems(data, found), *_number_problems(found)]
    return found


def load(path: Path, findings: Findings) -> Mapping[str, Any] | None:
    """The JSON object in `path`; None, and a problem, where there is none."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        findings.problems.append(f"{path.name} is not JSON: {str(error).splitlines()[0]:.120}")
        return None
    if not isinstance(data, dict):
        findings.problems.append(f"{path.name} is not a JSON object")
        return None
    return data


def ids(value: object) -> tuple[int, ...]:
    """A token id or a list of them, as configurations write them."""
    several = value if isinstance(value, list) else [value]
    return tuple(token for token in several if type(token) is int)


def code_files(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python files that an `auto_map` names (`modeling_x.XForCausalLM` is `modeling_x.py`)."""
    entries = data.get("auto_map")
    values = entries.values() if isinstance(entries, Mapping) else ()
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    names = (str(item).rpartition("--")[2].partition(".")[0] for item in flat if item)
    return tuple(sorted({f"{name}.py" for name in names}))


def _text(data: Mapping[str, Any]) -> Mapping[str, Any]:
    sections = (data.get(name) for name in _TEXT_SECTIONS)
    return next((section for section in sections if isinstance(section, Mapping)), data)


def _config(data: Mapping[str, Any], text: Mapping[str, Any], architecture: str) -> Config:
    heads, hidden = _number(text, _HEADS), _number(text, _HIDDEN)
    own = _number(text, ("head_dim",))
    return Config(
        model_type=str(data.get("model_type") or ""),
        architecture=architecture,
        context_length=_number(text, _CONTEXT),
        layers=_number(text, _LAYERS),
        kv_heads=_number(text, _KV_HEADS) or (1 if text.get("multi_query") else heads),
        head_size=own or (hidden // heads if heads else 0),
        vocab_size=_number(text, ("vocab_size",)),
        eos_ids=ids(data.get("eos_token_id")) or ids(text.get("eos_token_id")),
        is_tied=data.get("tie_word_embeddings") is not False,
        code_files=code_files(data),
    )


def _number(data: Mapping[str, Any], names: tuple[str, ...]) -> int:
    values = (data.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), 0)


def _kind_problems(data: Mapping[str, Any], found: Config) -> Iterator[str]:
    if data.get("is_encoder_decoder"):
        yield (
            f"{CONFIG}: the model ({found.model_type or found.architecture}) is an "
            "encoder-decoder; only decoders, which go on with a text, are served"
        )
    elif not found.architecture.endswith(_CAUSAL):
        yield (
            f"{CONFIG}: the architecture is {found.architecture or None!r}, expected a text "
            f"decoder (a class that ends in {' or '.join(_CAUSAL)})"
        )
    quantization = data.get("quantization_config")
    if quantization:
        kind = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
        yield (
            f"{CONFIG}: the weights are quantized ({kind or 'of no known kind'}), which needs "
            "libraries of a GPU; log the model in float32, float16 or bfloat16 "
            "(model.dequantize()), or log a quantized ONNX export (python -m build optimize)"
        )


def _number_problems(found: Config) -> Iterator[str]:
    needed = {
        _CONTEXT[0]: found.context_length,
        _LAYERS[0]: found.layers,
        _HEADS[0]: found.kv_heads,
        "head_dim": found.head_size,
        "vocab_size": found.vocab_size,
    }
    for name, value in needed.items():
        if not value:
            yield f"{CONFIG}: {name} is absent, expected a whole number above 0"
