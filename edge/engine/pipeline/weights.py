"""Loads the model of a folder: from safetensors alone, whole, without a network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM

from edge.errors import StartupError

_log = logging.getLogger(__name__)
_NAMED = 5
# What a file that is damaged, missing or of another shape raises inside of the library.
_FAILURES = (
    *(OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError, TypeError),
    SafetensorError,
)


def quiet() -> None:
    """Send the library's warnings through the log, and no progress bars anywhere."""
    logging.captureWarnings(True)
    transformers.logging.disable_default_handler()
    transformers.logging.enable_propagation()
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def load(
    folder: Path, dtype: torch.dtype, device: torch.device, *, runs_remote_code: bool = False
) -> Any:
    """The causal language model in `folder`, ready for inference, with its eager attention.

    Raises `StartupError` where the library cannot load it, or where weights are missing or left
    over: the library would fill gaps with random numbers.
    """
    common: dict[str, Any] = {
        "local_files_only": True,
        "trust_remote_code": runs_remote_code,
    }
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        if getattr(config, "is_encoder_decoder", False):
            raise StartupError(
                [f"model: {config.model_type} is an encoder-decoder, expected a decoder alone"]
            )
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
            **common,
        )
    except _FAILURES as error:
        _log.error("the library cannot load the model", extra={"error": str(error)})
        raise StartupError([f"model: transformers cannot load it: {_short(error)}"]) from error
    problems = _gaps(found)
    if problems:
        raise StartupError(problems)
    model.eval()
    model.requires_grad_(False)
    return model.to(device) if device.type != "cpu" else model


def _gaps(found: dict[str, Any]) -> list[str]:
    kinds = {
        "missing_keys": "has no weights for",
        "unexpected_keys": "has weights that the architecture does not know:",
        "mismatched_keys": "has weights of another shape for",
    }
    return [
        f"model: it {text} {_listed(found[kind])}"
        for kind, text in kinds.items()
        if found.get(kind)
    ]


def _listed(keys: Any) -> str:
    names = sorted(key if isinstance(key, str) else str(key[0]) for key in keys)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
