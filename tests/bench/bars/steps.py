"""What one step of the engine takes, and how much of it is the runtime's: a process of its own.

`python -m tests.bench.bars.steps BUNDLE --rows N ...` writes one line, `{"step_s": [...],
"run_s": [...]}`: seconds of each call of `advance`, and those of it in the native run. The
appliance's settings come from the environment.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from edge import bundle, config, loaders
from edge.engine import ort
from edge.engine.base import Engine, Row, Step
from edge.generation import Sampling

SEED = 29
WARM_UP_STEPS = 4


class Clock:
    """Adds up the seconds of all runs of sessions in this process."""

    def __init__(self) -> None:
        """Start with none."""
        self.spent_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stands in for `Session.run` inside: a binding knows the session that it is of."""
        run = ort.Session.run

        def timed(session: ort.Session, *arguments: Any, **named: Any) -> None:
            started = time.perf_counter()
            try:
                run(session, *arguments, **named)
            finally:
                self.spent_s += time.perf_counter() - started

        with patch.object(ort.Session, "run", timed):
            yield


def main() -> None:
    """Open the rows, run their prompts through, then time the steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    for name in ("rows", "depth", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    settings = config.from_process({"EDGE_ENGINE": "decoder"})
    engine = loaders.onnx_loader(bundle.read(asked.bundle), settings)().engine
    print(json.dumps(timed(engine, asked.rows, asked.depth, asked.steps)))
    engine.shutdown()


def timed(engine: Engine, rows: int, depth: int, steps: int) -> dict[str, list[float]]:
    """Time `steps` calls of `advance` for `rows` greedy rows with prompts of `depth` tokens."""
    clock = Clock()
    opened = _prefilled(engine, rows, depth, steps)
    for _ in range(WARM_UP_STEPS):
        _advance(engine, opened)
    step_s: list[float] = []
    run_s: list[float] = []
    with clock.watching():
        for _ in range(steps):
            clock.spent_s, started = 0.0, time.perf_counter()
            _advance(engine, opened)
            step_s.append(time.perf_counter() - started)
            run_s.append(clock.spent_s)
    for row in opened:
        engine.close(row)
    return {"step_s": step_s, "run_s": run_s}


def _advance(engine: Engine, rows: list[Row]) -> list[Step]:
    """Raises what ended a row: such a step would be quick."""
    steps = engine.advance(rows)
    for step in steps:
        if step.error:
            raise step.error
    return steps


def _prefilled(engine: Engine, rows: int, depth: int, steps: int) -> list[Row]:
    """Rows whose prompts are through."""
    random = np.random.default_rng(SEED)
    most = rows * depth + steps + WARM_UP_STEPS + 2  # others step on while a prompt comes in
    vocabulary = engine.limits.vocab_size
    prompts = random.integers(1, vocabulary, (rows, depth), dtype=np.int32)
    opened = [engine.open(prompt, most, Sampling(temperature=0.0)) for prompt in prompts]
    waiting = set(map(id, opened))
    while waiting:
        for row, step in zip(opened, _advance(engine, opened), strict=True):
            if step.choice is not None:
                waiting.discard(id(row))
    return opened


if __name__ == "__main__":
    main()
