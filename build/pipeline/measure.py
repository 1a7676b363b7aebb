"""How fast a transformers pipeline generates here, one stream by `generate` itself."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from build.measure import NEW_TOKENS, PROMPT_TOKENS, REPEATS, TEXT, Speed


def measure(pipeline: Any, context_length: int, load_s: float, repeats: int = REPEATS) -> Speed:
    """Time prefill and greedy decode of `pipeline`, which took `load_s` seconds to load.

    Prefill is a generation of one token, decode what more tokens add to it. It takes a context
    of at least four tokens.
    """
    prompt_tokens = max(1, min(PROMPT_TOKENS, context_length // 2))
    new_tokens = max(2, min(NEW_TOKENS, context_length - prompt_tokens))
    ids = pipeline.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    prompt = (ids * (prompt_tokens // len(ids) + 1))[:prompt_tokens]
    _lap(pipeline, prompt, 1)  # the first run allocates
    first = median(_lap(pipeline, prompt, 1) for _ in range(repeats))
    whole = median(_lap(pipeline, prompt, new_tokens) for _ in range(repeats))
    return Speed(
        load_seconds=load_s,
        time_to_first_token_seconds=first,
        prefill_tokens_per_second=prompt_tokens / first,
        decode_tokens_per_second=(new_tokens - 1) / max(whole - first, 1e-9),
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
    )


def _lap(pipeline: Any, prompt: list[int], new_tokens: int) -> float:
    """Seconds for exactly `new_tokens` after `prompt`, a list of ids."""
    import torch

    inputs = torch.tensor([prompt])
    started = time.perf_counter()
    with torch.inference_mode():
        pipeline.model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
    return time.perf_counter() - started
