"""The model in the box, loaded once on the engine and once more on the runtime's own binding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
import pytest

from edge.engine import genai
from edge.engine.base import Limits
from edge.engine.genai_tokenizer import GenaiTokenizer

KV_BYTES_PER_TOKEN = 64


@pytest.fixture(scope="session")
def limits(demo_model: Path) -> Limits:
    config = json.loads((demo_model / "genai_config.json").read_bytes())["model"]
    ends = config["eos_token_id"]
    return Limits(
        context_length=config["context_length"],
        eos_ids=frozenset(ends if isinstance(ends, list) else [ends]),
        vocab_size=config["vocab_size"],
        kv_bytes_per_token=KV_BYTES_PER_TOKEN,
    )


@pytest.fixture(scope="session")
def loaded(demo_model: Path):
    return genai.load(demo_model, threads=1, spin=False)


@pytest.fixture
def engine(loaded, limits: Limits) -> genai.GenaiEngine:
    return genai.GenaiEngine(loaded, limits, prefill_chunk_ms=100)


@pytest.fixture(scope="session")
def tokenizer(demo_model: Path) -> GenaiTokenizer:
    template = demo_model / "chat_template.jinja"
    return GenaiTokenizer(demo_model, template.read_text() if template.is_file() else "")


class Bare:
    """A plain loop on onnxruntime-genai's Python binding, one generator a call."""

    def __init__(self, folder: Path) -> None:
        self._model = og.Model(str(folder))

    def _generator(self, prompt, max_length, chunk=None):
        """Kernels differ with the number of tokens in a call: equal chunks give equal bits."""
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=max_length, do_sample=False, random_seed=0)
        generator = og.Generator(self._model, params)
        ids = np.asarray(prompt, dtype=np.int32)
        step = chunk or len(ids)
        for start in range(0, len(ids), step):
            generator.append_tokens(ids[start : start + step])
        return generator

    def greedy(self, prompt, max_tokens, chunk=None):
        """The ids that follow, up to `max_tokens` of them, an end token included."""
        # The runtime leaves the end token out of the sequence, so it is noted as it comes.
        generator = self._generator(prompt, len(prompt) + max_tokens, chunk)
        ids = []
        while not generator.is_done():
            generator.generate_next_token()
            ids.append(int(generator.get_next_tokens()[0]))
        return ids

    def logprobs(self, prompt):
        """float64, shape (vocab,): log-probabilities of what follows `prompt` in one call."""
        logits = self._generator(prompt, len(prompt) + 1).get_logits()
        last = np.asarray(logits, dtype=np.float64).reshape(-1, logits.shape[-1])[-1]
        shifted = last - last.max()
        return shifted - np.log(np.exp(shifted).sum())


@pytest.fixture(scope="session")
def bare(demo_model: Path) -> Bare:
    return Bare(demo_model)
