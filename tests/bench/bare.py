"""The baseline: a bare onnxruntime-genai loop in a process of its own.

Reads one JSON task a line from standard input, `{"prompts": [[id, ...], ...], "new_tokens": n}`
with prompts of one length, runs them as one static batch with greedy decoding, and answers with
one line, `{"first_s": ..., "total_s": ...}`: seconds to the first and to the last token. The
first line that it writes says `{}`: the model is loaded and gave a token.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from edge import config


class Task(TypedDict):
    """`is_endless`: tokens that end an answer are suppressed."""

    prompts: list[list[int]]
    new_tokens: int
    is_endless: bool


class Timing(TypedDict):
    """Seconds since the task was read."""

    first_s: float
    total_s: float


WARM_UP: Task = {"prompts": [[1, 2, 3, 4]], "new_tokens": 2, "is_endless": False}


def main() -> None:
    """Load the model and serve tasks until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    config.silence_telemetry()
    import onnxruntime_genai as og

    model = _load(og, arguments.folder, arguments.threads)
    run(og, model, WARM_UP)
    _say({})
    for line in sys.stdin:
        _say(run(og, model, json.loads(line)))


def run(og: Any, model: Any, task: Task) -> Timing:
    """Time one task, the making of its generator included."""
    started = time.perf_counter()
    prompts = np.array(task["prompts"], dtype=np.int32)
    generator = og.Generator(model, _options(og, model, task, prompts.shape))
    generator.append_tokens(prompts if len(prompts) > 1 else prompts[0])
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(task["new_tokens"] - 1):
        generator.generate_next_token()
    return {"first_s": first - started, "total_s": time.perf_counter() - started}


def _options(og: Any, model: Any, task: Task, shape: tuple[int, ...]) -> Any:
    length = shape[1] + task["new_tokens"]
    options = og.GeneratorParams(model)
    options.set_search_options(
        do_sample=False,
        batch_size=shape[0],
        max_length=length,
        min_length=length if task["is_endless"] else 0,
        random_seed=0,  # without one, each generator draws slow hardware entropy
    )
    return options


def _load(og: Any, folder: Path, threads: int) -> Any:
    session = {"intra_op_num_threads": threads}
    settings = og.Config(str(folder))
    settings.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    return og.Model(settings)


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
