"""Greedy tokens are those of onnxruntime-genai's generator, whatever else the engine does.

Float activations: the highest logit is chosen at every step, up to rounding in the sixth digit.
Eight-bit activations (the factory's export) are rounded differently by the kernels for one row
and for many, which moves a logit by a tenth now and then: there the token chosen is within that
distance of the highest logit, and alone, cut the same way, a row gives the very same bits.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edge.engine.decoder import families
from tests.edge.engine.decoder.driving import (
    GREEDY,
    SLOTS,
    Fixed,
    Job,
    Tally,
    prompt_of,
    run,
    simulate,
)

EXACT = ["phi3", "llama", "qwen2", "qwen3", "gemma2", "positions", "whole"]
TUNED = ["phi3-tuned", "llama-tuned", "qwen2-tuned", "qwen3-tuned"]
# Logits have a standard deviation of 1 and more.
ROUNDING = 1e-4
EIGHT_BITS = 0.2
HALF = 0.01  # a few units in the last place of a half-precision logit

JOBS = st.lists(
    st.builds(
        Job,
        arrives=st.integers(0, 30),
        length=st.one_of(st.integers(1, 12), st.integers(1, 150)),
        seed=st.integers(0, 1000),
        max_tokens=st.integers(1, 24),
        leaves=st.one_of(st.none(), st.integers(0, 25)),
        head=st.sampled_from([0, 0, 20, 90, 200]),
    ),
    min_size=2,
    max_size=12,
)
CHUNKS = st.lists(st.integers(1, 70), min_size=1, max_size=4)


def check(pair, jobs, chunks, tally):
    """Run the schedule; every answer is complete and right. Notes how close it was."""
    ended = simulate(pair.engine, jobs, chunks)
    assert len(ended) == len(jobs)
    tally.cached += sum(said.cached for said in ended)
    ends = pair.engine.limits.eos_ids
    for said in ended:
        assert not ends & set(said.tokens[:-1])
        is_complete = len(said.tokens) == said.job.max_tokens or bool(ends & set(said.tokens[-1:]))
        assert is_complete or said.has_left
        tally.add(pair.reference.gaps(said.prompt, said.tokens))


def parity(pair, examples):
    """The tally of many random schedules."""
    tally = Tally()

    @settings(max_examples=examples, deadline=None)
    @given(JOBS, CHUNKS)
    def any_schedule(jobs, chunks):
        before = tally.worst
        check(pair, jobs, chunks, tally)
        assert tally.worst <= max(before, EIGHT_BITS)

    any_schedule()
    print(f"{tally}")
    return tally


def test_any_schedule_gives_the_tokens_of_a_bare_loop(exact):
    tally = parity(exact, examples=60)
    assert tally.tokens > 500
    assert tally.worst <= ROUNDING
    assert tally.ties <= 2 + tally.tokens // 1000


def test_any_schedule_with_cached_prefixes(paired, exact_model):
    tally = parity(paired(exact_model, prefixes=3), examples=60)
    assert tally.cached > 1000
    assert tally.worst <= ROUNDING
    assert tally.ties <= 2 + tally.tokens // 1000


@pytest.mark.torch
@pytest.mark.parametrize("name", ["phi3", "qwen3", "gemma2", "half", "llama-tuned"])
def test_any_schedule_with_cached_prefixes_on_models_of_other_shapes(paired, exports, name):
    tally = parity(paired(exports / name, prefixes=3), examples=30)
    assert tally.cached > 500
    assert tally.worst <= {"half": HALF, "llama-tuned": EIGHT_BITS}.get(name, ROUNDING)


@pytest.mark.torch
@pytest.mark.parametrize("name", EXACT)
def test_any_schedule_on_models_of_other_shapes(paired, exports, name):
    tally = parity(paired(exports / name), examples=40)
    assert tally.worst <= ROUNDING
    assert tally.ties <= 2 + tally.tokens // 1000


@pytest.mark.torch
def test_any_schedule_on_half_precision(paired, exports):
    tally = parity(paired(exports / "half"), examples=40)
    assert tally.worst <= HALF
    assert tally.ties <= 2 + tally.tokens // 100


def test_any_schedule_on_an_int8_cache(paired, quarter_model):
    """With prefixes, which move and are copied like any other."""
    pair = paired(quarter_model, prefixes=3)
    assert pair.engine._runs._arena.shape.dtype == np.int8
    tally = parity(pair, examples=40)
    assert tally.cached > 500
    assert tally.worst <= EIGHT_BITS
    assert tally.ties <= tally.tokens // 20


@pytest.mark.torch
@pytest.mark.parametrize("name", TUNED)
def test_any_schedule_on_eight_bit_activations(paired, exports, name):
    tally = parity(paired(exports / name), examples=40)
    assert tally.worst <= EIGHT_BITS
    assert tally.ties <= tally.tokens // 20


def test_any_schedule_on_the_model_in_the_box_as_it_is(paired, demo_model):
    tally = parity(paired(demo_model), examples=40)
    assert tally.worst <= EIGHT_BITS
    assert tally.ties <= tally.tokens // 20


@pytest.mark.parametrize("chunk", [1, 3, 8, 64, 512])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 130])
def test_alone_the_tokens_are_the_very_same(paired, demo_model, chunk, length):
    """Eight-bit activations or not: the same cuts take the same kernels."""
    engine, reference = paired(demo_model)
    engine._pace = Fixed(chunk)
    prompt = prompt_of(length, engine.limits, seed=length)
    (tokens,) = run(engine, [engine.open(prompt, 24, GREEDY)], 24)
    assert tokens == reference.greedy(prompt, 24, chunk)


@pytest.mark.torch
@pytest.mark.parametrize("name", TUNED)
def test_alone_the_tokens_are_the_very_same_on_models_of_other_shapes(paired, exports, name):
    engine, reference = paired(exports / name)
    for seed, (length, chunk) in enumerate([(1, 1), (9, 2), (40, 7), (63, 64), (130, 33)]):
        engine._pace = Fixed(chunk)
        prompt = prompt_of(length, engine.limits, seed)
        (tokens,) = run(engine, [engine.open(prompt, 40, GREEDY)], 40)
        assert tokens == reference.greedy(prompt, 40, chunk)


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_full_slots_give_the_tokens_of_a_bare_loop(exact, chunk):
    """Token for token, with no allowance for near-ties: these prompts have none."""
    engine, reference = exact
    engine._pace = Fixed(chunk)
    for seed in range(4):
        prompts = [prompt_of(1 + 17 * n, engine.limits, seed * SLOTS + n) for n in range(SLOTS)]
        rows = [engine.open(prompt, 30, GREEDY) for prompt in prompts]
        assert run(engine, rows, 30) == [reference.greedy(prompt, 30) for prompt in prompts]


def test_both_engines_say_the_same(fast, engine, limits, exact_model):
    """The engine and the one that it stands in for, over the same rows at the same time."""
    prompts = [prompt_of(length, limits, length) for length in (3, 40, 11, 1, 23)]
    engine._model = type(engine._model)(exact_model, "{}")
    answers = [
        run(side, [side.open(prompt, 20, GREEDY) for prompt in prompts], 20)
        for side in (fast, engine)
    ]
    assert answers[0] == answers[1]


@pytest.mark.torch
def test_a_window_of_attention_is_kept(paired, exports):
    """Long answers: what is out of the window is out of mind, though it lies in the cache."""
    engine, reference = paired(exports / "gemma2")
    engine._pace = Fixed(50)
    prompts = [prompt_of(length, engine.limits, length) for length in (5, 23, 24, 25, 90, 200)]
    answers = run(engine, [engine.open(prompt, 100, GREEDY) for prompt in prompts], 100)
    assert max(map(len, answers)) > 2 * families.WINDOW
    tally = Tally()
    for prompt, tokens in zip(prompts, answers, strict=True):
        tally.add(reference.gaps(prompt, tokens))
    assert tally.worst <= ROUNDING


@pytest.mark.torch
def test_a_window_that_the_graph_has_not(paired, exports, tmp_path):
    """onnxruntime-genai gives such a model too small a cache; without the window it serves it."""
    plain = tmp_path / "plain"
    shutil.copytree(exports / "mistral", plain)
    path = plain / "genai_config.json"
    config = json.loads(path.read_text())
    assert config["model"]["decoder"].pop("sliding_window")["window_size"] == families.WINDOW
    path.write_text(json.dumps(config))
    engine = paired(exports / "mistral").engine
    reference = paired(plain).reference
    prompts = [prompt_of(length, engine.limits, length) for length in (5, 30, 90)]
    answers = run(engine, [engine.open(prompt, 60, GREEDY) for prompt in prompts], 60)
    for prompt, tokens in zip(prompts, answers, strict=True):
        assert max(reference.gaps(prompt, tokens)) <= ROUNDING


def test_an_answer_may_fill_the_slot(exact):
    engine, reference = exact
    engine._pace = Fixed(512)
    prompts = [
        prompt_of(engine.limits.context_length - 30, engine.limits),
        prompt_of(9, engine.limits),
    ]
    rows = [engine.open(prompt, 30, GREEDY) for prompt in prompts]
    for prompt, tokens in zip(prompts, run(engine, rows, 30), strict=True):
        assert max(reference.gaps(prompt, tokens)) <= ROUNDING
