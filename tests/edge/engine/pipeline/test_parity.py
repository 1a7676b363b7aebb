"""Every kind of model says what `generate` says, token for token, whoever shares its calls."""

from __future__ import annotations

import numpy as np
import pytest

from edge.engine.pipeline.packed import NAME
from edge.engine.pipeline.runner import PackedRunner
from edge.engine.pipeline.solo import SoloRunner
from edge.generation import Sampling
from tests.edge.engine.pipeline import families

GREEDY = Sampling(temperature=0)


class Fixed:
    """A pace that never changes."""

    is_patient = False

    def __init__(self, tokens):
        self.tokens = tokens

    def note(self, tokens, seconds):
        pass

    def note_step(self, seconds):
        pass


def prompt_of(length, seed):
    draw = np.random.default_rng(seed)
    return draw.integers(2, families.VOCABULARY, length, dtype=np.int32)


def run(engine, jobs, chunk):
    """Let jobs (arrives at tick, prompt, tokens) come and go; what each said, in their order."""
    engine._pace = Fixed(chunk)
    said = [[] for _ in jobs]
    running = {}
    tick = 0
    while tick == 0 or running or any(arrives >= tick for arrives, _, _ in jobs):
        for place, (arrives, prompt, tokens) in enumerate(jobs):
            if arrives == tick:
                running[place] = engine.open(prompt, tokens, GREEDY)
        places = list(running)
        steps = engine.advance([running[place] for place in places])
        for place, step in zip(places, steps, strict=True):
            assert step.error is None
            if step.choice is not None:
                said[place].append(step.choice.token)
                if len(said[place]) == jobs[place][2]:
                    engine.close(running.pop(place))
        tick += 1
    return said


# Ragged lengths; the windows of models that have one are 9.
JOBS = [(0, prompt_of(3, 1), 24), (0, prompt_of(17, 2), 9), (2, prompt_of(1, 3), 12),
        (6, prompt_of(30, 4), 5)]  # fmt: skip


@pytest.mark.parametrize("family", [*families.PACKED, *families.SOLO])
def test_rows_that_join_and_leave_say_what_generate_says(pair_of, family):
    engine, reference = pair_of(family)
    wanted = [reference.greedy(prompt, tokens) for _, prompt, tokens in JOBS]
    assert run(engine, JOBS, chunk=7) == wanted
    assert run(engine, JOBS, chunk=100) == wanted


@pytest.mark.parametrize("family", families.PACKED)
def test_rows_share_calls_where_the_model_lets_them(pair_of, family):
    runner = pair_of(family).engine._runner
    assert isinstance(runner, PackedRunner)
    assert runner._model.config._attn_implementation == NAME


@pytest.mark.parametrize("family", families.SOLO)
def test_rows_take_turns_where_it_does_not(pair_of, family):
    assert isinstance(pair_of(family).engine._runner, SoloRunner)
