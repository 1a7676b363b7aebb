"""The demo network: its shape, its loss, and its transformers folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import linear
from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

from build.demo import tokenizer as tokenization
from build.demo.layout import END, END_OF_TEXT


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Phi-3-architecture network. The defaults are those of the demo model."""

    hidden_size: int = 256
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 512
    vocab_size: int = 3072
    context_length: int = 2048


def build(shape: Shape, vocabulary: Tokenizer) -> Phi3ForCausalLM:
    """A freshly initialised network; torch's global random state decides the weights."""
    end_of_text = vocabulary.token_to_id(END_OF_TEXT)
    config = Phi3Config(
        vocab_size=vocabulary.get_vocab_size(),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context_length,
        original_max_position_embeddings=shape.context_length,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        pad_token_id=end_of_text,
    )
    model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=end_of_text,
        eos_token_id=[vocabulary.token_to_id(END), end_of_text],
        pad_token_id=end_of_text,
    )
    return model


def predict(
    model: Phi3ForCausalLM, weights: Mapping[str, Tensor], ids: Tensor, said: Tensor
) -> tuple[Tensor, Tensor]:
    """Predict every token that the model has to say, with `weights` in place of its own.

    `ids` [rows, length] int64, padded at the end; `said` [rows, length] bool, true where the token
    is the model's own. Returns the logits [n, vocabulary] float32 at the positions before those n
    tokens, and the tokens [n]. Padding needs no mask: attention looks back only.
    """
    body = {name[6:]: weight for name, weight in weights.items() if name.startswith("model.")}
    inputs = {"input_ids": ids, "use_cache": False}
    hidden = functional_call(model.model, body, kwargs=inputs).last_hidden_state
    logits = linear(hidden[:, :-1][said[:, 1:]], weights["lm_head.weight"])
    return logits.float(), ids[:, 1:][said[:, 1:]]


def save(model: Phi3ForCausalLM, vocabulary: Tokenizer, folder: Path) -> None:
    """Write a transformers folder with fp16 weights: model, configuration and tokenizer."""
    model.to(torch.float16).save_pretrained(folder)
    tokenization.save(vocabulary, folder, model.config.max_position_embeddings)
    for file in folder.iterdir():
        file.chmod(0o644)
