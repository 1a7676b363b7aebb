"""Engines and their references, on tiny models with random weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from edge import bundle
from edge.engine.pipeline import opening
from edge.engine.pipeline.engine import PipelineEngine
from edge.engine.pipeline.opening import Options
from tests.edge.engine.pipeline import families


class Reference:
    """The library's own `generate` on the same weights, one sequence at a time."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def greedy(self, prompt: np.ndarray, tokens: int) -> list[int]:
        """The `tokens` that follow."""
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        with torch.inference_mode():
            said = self.model.generate(ids, max_new_tokens=tokens, do_sample=False, use_cache=True)
        return said[0, len(prompt) :].tolist()

    def logits(self, tokens: list[int]) -> np.ndarray:
        """float32 (tokens, vocab), from one call without a cache."""
        with torch.inference_mode():
            return self.model(torch.tensor([tokens]), use_cache=False).logits[0].numpy()


class Pair(NamedTuple):
    """The engine under test and what judges it."""

    engine: PipelineEngine
    reference: Reference


def manifest(**changes: Any) -> bundle.Manifest:
    """What the engine reads of a bundle's manifest."""
    settings = {"context_length": families.CONTEXT, "eos_ids": (1,), "quantization": "fp32"}
    return bundle.Manifest(
        name="tiny",
        flavor="pipeline",
        files=(),
        signature=bundle.Signature("chat"),
        generation=bundle.Defaults(),
        kv_bytes_per_token=0,
        **{**settings, **changes},
    )


def options(**changes: Any) -> Options:
    """Two threads, chunks as they come."""
    return Options(**{"threads": 2, "prefill_chunk_ms": 100, **changes})


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a family's weights, written once."""

    @functools.cache
    def write(family: str) -> Path:
        return families.write(family, tmp_path_factory.mktemp("families") / family)

    return write


@pytest.fixture(scope="session")
def pair_of(folder_of) -> Callable[[str], Pair]:
    """Both sides on a family's weights, loaded once."""

    @functools.cache
    def load(family: str) -> Pair:
        folder = folder_of(family)
        engine = opening.load(folder, manifest(), options())
        return Pair(engine, Reference(folder))

    return load
