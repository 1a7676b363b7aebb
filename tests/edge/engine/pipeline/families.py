"""Tiny models with random weights, one of each kind of architecture that matters here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 160
CONTEXT = 256
_WINDOW = 9
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_GEMMA = {**_GROUPED, "head_dim": 8, "sliding_window": _WINDOW, "hidden_activation": "gelu"}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT}

# Whose rows share calls.
PACKED: dict[str, dict[str, Any]] = {
    "phi3": {**_GROUPED, "sliding_window": None},
    "phi3-window": {**_GROUPED, "model_type": "phi3", "sliding_window": _WINDOW},
    "llama": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 16},
    "mistral": {**_GROUPED, "sliding_window": _WINDOW},
    "gemma2": {**_GEMMA, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    "gemma3_text": {**_GEMMA, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gpt2": {**_SIZES, **_GPT2},
    "opt": {**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt_neox": _SIZES,
    "olmo2": _GROUPED,
    "mixtral": {**_GROUPED, "num_local_experts": 4},
}
# Whose rows take turns: attention of their own, or a state in the place of keys and values.
SOLO: dict[str, dict[str, Any]] = {
    "bloom": {**_SIZES, "n_layer": 3, "n_head": 4},
    "gpt_neo": {
        **_SIZES,
        "num_layers": 3,
        "num_heads": 4,
        "window_size": _WINDOW,
        "attention_types": [[["global", "local", "local"], 1]],
    },
    "mamba": {**_SIZES, "state_size": 8},
}
SOLO["bloom"].pop("num_attention_heads")
PACKED["gemma3_text"]["num_hidden_layers"] = 4


def write(family: str, folder: Path) -> Path:
    """The model of `family` in float32 with seeded weights, in `folder`."""
    settings = dict({**PACKED, **SOLO}.get(family) or {})
    config = AutoConfig.for_model(settings.pop("model_type", family), **settings)
    transformers.set_seed(3)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _spread(model)
    model.generation_config.eos_token_id = config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


def _spread(model: Any) -> None:
    """Weights so far apart that greedy choices have no near ties."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in name:
                parameter.normal_(0, 0.25)
