"""Prompts that begin like what has been seen: less work, the same tokens."""

from __future__ import annotations

import numpy as np
import pytest

from edge import cpu
from edge.engine.decoder.prefixes import LEAST_TOKENS
from edge.errors import EngineFailed
from edge.generation import Sampling
from tests.edge.engine.decoder.driving import GREEDY, Fixed, load, prompt_of, run

NEAR = 1e-4


@pytest.fixture
def caching(paired, exact_model):
    """The model in the box with room for four prefixes, empty before and after."""
    engine = paired(exact_model, prefixes=4).engine
    engine._pace = Fixed(64)
    engine.keep(0)
    yield engine
    assert engine._placement.rows == []
    engine.keep(0)


@pytest.fixture
def judge(paired, exact_model):
    return paired(exact_model, prefixes=4).reference


def ask(engine, prompt, tokens=12, sampling=GREEDY):
    """Answer `prompt` alone: the tokens, and how many of the prompt were cached and computed."""
    row = engine.open(prompt, tokens, sampling)
    said, cached, prefilled = [], 0, 0
    while len(said) < tokens:
        (step,) = engine.advance([row])
        assert step.error is None
        cached += step.cached
        prefilled += step.prefilled
        said += [step.choice.token] if step.choice else []
    engine.close(row)
    return said, cached, prefilled


def test_the_next_turn_of_a_chat_pays_for_its_own_tokens_alone(caching, judge):
    history = prompt_of(50, caching.limits, seed=1)
    said, cached, prefilled = ask(caching, history)
    assert (cached, prefilled) == (0, 50)
    for turn in range(3):
        prompt = np.concatenate([history, said, prompt_of(9, caching.limits, seed=turn)])
        prompt = prompt.astype(np.int32)
        said, cached, prefilled = ask(caching, prompt)
        # The last token of the answer was chosen and never went through the model.
        assert (cached, prefilled) == (len(history) + 11, 10)
        assert max(judge.gaps(prompt, said)) <= NEAR
        history = prompt
    assert len(caching._placement.prefixes) == 1


def test_the_same_prompt_again_pays_for_one_token(caching):
    prompt = prompt_of(60, caching.limits, seed=2)
    first, *_ = ask(caching, prompt)
    again, cached, prefilled = ask(caching, prompt)
    assert again == first
    assert (cached, prefilled) == (59, 1)


def test_branches_of_one_chat_are_kept_side_by_side(caching, judge):
    head = prompt_of(40, caching.limits, seed=3)
    for seed in range(6):
        prompt = np.concatenate([head, prompt_of(20, caching.limits, 10 + seed)])
        said, cached, _ = ask(caching, prompt)
        assert cached == (40 if seed else 0)
        assert max(judge.gaps(prompt, said)) <= NEAR
    assert len(caching._placement.prefixes) == 4


def test_a_head_is_shared_with_a_row_that_still_runs(caching, judge):
    head = prompt_of(100, caching.limits, seed=4)
    prompts = [np.concatenate([head, prompt_of(5, caching.limits, 20 + n)]) for n in range(4)]
    rows = [caching.open(prompt, 30, GREEDY) for prompt in prompts]
    cached, said = [0] * 4, [[], [], [], []]
    for _ in range(20):
        for n, step in enumerate(caching.advance(rows)):
            cached[n] += step.cached
            said[n] += [step.choice.token] if step.choice else []
    for row in rows:
        caching.close(row)
    assert cached == [0, 100, 100, 100]
    for prompt, tokens in zip(prompts, said, strict=True):
        assert max(judge.gaps(prompt, tokens)) <= NEAR


def test_a_head_that_is_too_short_is_not_looked_after(caching):
    head = prompt_of(LEAST_TOKENS - 1, caching.limits, seed=5)
    ask(caching, np.concatenate([head, prompt_of(20, caching.limits, 30)]))
    _, cached, prefilled = ask(caching, np.concatenate([head, prompt_of(20, caching.limits, 31)]))
    assert (cached, prefilled) == (0, len(head) + 20)


def test_a_prompt_that_is_scored_is_computed_whole(caching):
    prompt = prompt_of(40, caching.limits, seed=6)
    ask(caching, prompt)
    row = caching.open(prompt, 1, Sampling(temperature=0, logprobs=1), echo_logprobs=True)
    scores = []
    while row.is_prefilling:
        (step,) = caching.advance([row])
        assert step.cached == 0
        scores += step.prompt_choices
    caching.close(row)
    assert [score.token for score in scores] == prompt.tolist()


def test_a_row_that_was_cut_leaves_what_it_has_read(caching, judge):
    prompt = prompt_of(150, caching.limits, seed=7)
    row = caching.open(prompt, 5, GREEDY)
    for _ in range(2):
        caching.advance([row])
    caching.close(row)
    said, cached, prefilled = ask(caching, prompt)
    assert (cached, prefilled) == (128, 22)
    assert max(judge.gaps(prompt, said)) <= NEAR


def test_seeded_answers_are_the_same_with_and_without(caching):
    prompt = prompt_of(60, caching.limits, seed=8)
    sampling = Sampling(temperature=1.2, seed=5, top_p=0.9, repetition_penalty=1.2)
    cold, *_ = ask(caching, prompt, 20, sampling)
    warm, cached, _ = ask(caching, prompt, 20, sampling)
    assert cached == 59
    assert warm == cold


def test_what_is_preloaded_is_there_for_the_first_request_and_stays(caching, judge):
    head = prompt_of(90, caching.limits, seed=9)
    caching.preload(head)
    for seed in range(8):
        prompt = np.concatenate([head, prompt_of(30, caching.limits, 50 + seed)])
        said, cached, prefilled = ask(caching, prompt)
        assert (cached, prefilled) == (90, 30)
        assert max(judge.gaps(prompt, said)) <= NEAR


def test_what_cannot_be_preloaded_leaves_nothing(caching):
    with pytest.raises(EngineFailed, match="longer than a slot"):
        caching.preload(prompt_of(caching.limits.context_length + 1, caching.limits))
    assert len(caching._placement.prefixes) == 0


def test_memory_is_kept_as_far_as_it_is_allowed(paired, exact_model):
    engine = load(exact_model, slots=1, prefixes=2)
    per_token = engine.limits.kv_bytes_per_token
    prompts = [prompt_of(length, engine.limits, length) for length in (100, 200)]
    for prompt in prompts:
        ask(engine, prompt, 1)
    assert engine._placement.prefixes.tokens == 300
    engine.keep(250 * per_token)
    assert engine._placement.prefixes.tokens == 200
    engine.keep(199 * per_token)
    assert engine._placement.prefixes.tokens == 0
    engine.shutdown()


def test_memory_goes_back_when_prefixes_go(exact_model):
    engine = load(exact_model, slots=2, prefixes=4)
    tokens = engine.limits.context_length - 2
    run(engine, [engine.open(prompt_of(64, engine.limits), 1, GREEDY)], 1)
    engine.keep(0)
    before = cpu.resident_bytes()
    ask(engine, prompt_of(tokens, engine.limits, 1), 1)
    held = cpu.resident_bytes() - before
    engine.keep(0)
    assert held - (cpu.resident_bytes() - before) > held / 2
    engine.shutdown()


def test_an_engine_without_prefixes_starts_from_nothing(fast):
    prompt = prompt_of(60, fast.limits, seed=2)
    fast.preload(prompt)
    assert ask(fast, prompt)[1:] == (0, 60)
    assert ask(fast, prompt)[1:] == (0, 60)
