"""How fast a model folder runs here, on a bare onnxruntime-genai loop."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from build.errors import InvalidModel

PROMPT_TOKENS = 128
NEW_TOKENS = 64
REPEATS = 3
TEXT = "Measure a fox that jumps over the lazy dog, once more and from the start. "


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians of a few runs on this machine, whatever else it was doing.

    `time_to_first_token_seconds` is for a prompt of `prompt_tokens`, tokenizing included.
    """

    load_seconds: float
    time_to_first_token_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    prompt_tokens: int
    new_tokens: int

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class _Lap:
    prefill_s: float
    first_token_s: float
    decode_s: float


def measure(folder: Path, context_length: int, repeats: int = REPEATS) -> Speed:
    """Time load, prefill and greedy decode of the model in `folder`.

    It takes a context of at least four tokens. Raises `InvalidModel` where the runtime refuses
    the model.
    """
    import onnxruntime_genai as og

    prompt_tokens = max(1, min(PROMPT_TOKENS, context_length // 2))
    new_tokens = max(2, min(NEW_TOKENS, context_length - prompt_tokens))
    try:
        started = time.perf_counter()
        model = og.Model(str(folder))
        tokenizer = og.Tokenizer(model)
        load_s = time.perf_counter() - started
        _lap(og, model, tokenizer, prompt_tokens, new_tokens)  # the first run allocates
        laps = [_lap(og, model, tokenizer, prompt_tokens, new_tokens) for _ in range(repeats)]
    except RuntimeError as error:
        raise InvalidModel(f"onnxruntime-genai does not run the model: {error}") from error
    return Speed(
        load_seconds=load_s,
        time_to_first_token_seconds=median(lap.first_token_s for lap in laps),
        prefill_tokens_per_second=prompt_tokens / median(lap.prefill_s for lap in laps),
        decode_tokens_per_second=(new_tokens - 1) / median(lap.decode_s for lap in laps),
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
    )


def _lap(og: Any, model: Any, tokenizer: Any, prompt_tokens: int, new_tokens: int) -> _Lap:
    started = time.perf_counter()
    prompt = _prompt(tokenizer, prompt_tokens)
    options = og.GeneratorParams(model)
    total = prompt_tokens + new_tokens
    options.set_search_options(max_length=total, min_length=total, do_sample=False)
    generator = og.Generator(model, options)
    appended = time.perf_counter()
    generator.append_tokens(prompt)
    prefilled = time.perf_counter()
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(new_tokens - 1):
        generator.generate_next_token()
    return _Lap(prefilled - appended, first - started, time.perf_counter() - first)


def _prompt(tokenizer: Any, count: int) -> npt.NDArray[np.int32]:
    """`count` ids of ordinary text, shape (count,)."""
    ids = np.asarray(tokenizer.encode(TEXT), dtype=np.int32)
    return np.resize(ids, count)
