"""Drafted tokens change the time of an answer and nothing else."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from edge.engine.decoder.drafts import MOST_TOKENS, Costs, Drafter
from edge.engine.ort import OrtError
from edge.generation import Guidance, Sampling
from tests.edge.engine.decoder.driving import GREEDY, SLOTS, Fixed, Tally, load, prompt_of, run
from tests.edge.engine.decoder.test_parity import EIGHT_BITS, ROUNDING, parity

HOT = Sampling(
    temperature=1.1, seed=5, top_p=0.95, repetition_penalty=1.1, frequency_penalty=0.2, logprobs=2
)


class Prophet(Drafter):
    """Drafts of what will be said, each token of it wrong now and then."""

    def __init__(self, costs, prompt, answer, seed=0, truth=0.7):
        super().__init__(costs)
        self._ids = np.concatenate([prompt, answer]).astype(np.int32)
        self._draw = random.Random(seed)
        self._truth = truth

    def draft(self, ids, most):
        size = self._draw.randint(0, max(0, min(most, 7)))
        draft = self._ids[len(ids) : len(ids) + size].copy()
        for place in range(len(draft)):
            if self._draw.random() > self._truth:
                draft[place] = self._draw.randrange(3000)
        return draft


@pytest.fixture
def pair(paired, verifying_model):
    pair = paired(verifying_model, speculates=True)
    pair.engine._pace = Fixed(64)
    assert pair.engine._placement.rows == []
    return pair


@pytest.fixture
def runs_of(pair, monkeypatch):
    """Counts the runs of one token and those of several."""
    counts = {"decode": 0, "verify": 0}
    for name in counts:
        plain = getattr(pair.engine._runs, name)

        def counted(*arguments, plain=plain, name=name):
            counts[name] += 1
            return plain(*arguments)

        monkeypatch.setattr(pair.engine._runs, name, counted)
    return counts


def answer(engine, prompt, tokens, sampling=GREEDY, drafter=None, constraint=None):
    """The choices of an answer given alone."""
    row = engine.open(prompt, tokens, sampling, constraint=constraint)
    row.drafter = drafter
    said = []
    while len(said) < tokens:
        (step,) = engine.advance([row])
        assert step.error is None
        if step.choice:
            said.append(step.choice)
            if step.choice.token in engine.limits.eos_ids:
                break
    engine.close(row)
    return said


def tokens_of(choices):
    return [choice.token for choice in choices]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("truth", [0.0, 0.7, 1.0])
def test_greedy_answers_are_the_same_token_for_token(pair, runs_of, truth, seed):
    engine, reference = pair
    prompt = prompt_of(5 + 20 * seed, engine.limits, seed)
    plain = tokens_of(answer(engine, prompt, 60))
    runs_of |= {"decode": 0, "verify": 0}
    prophet = Prophet(engine._costs, prompt, plain, seed, truth)
    assert tokens_of(answer(engine, prompt, 60, drafter=prophet)) == plain
    assert max(reference.gaps(prompt, plain)) <= ROUNDING
    runs = runs_of["decode"] + runs_of["verify"]
    assert runs_of["verify"] > 3 or len(plain) < 30
    assert runs < len(plain) / 2 if truth == 1 and len(plain) > 20 else runs <= len(plain)


def test_sampled_answers_and_their_scores_are_the_same(pair):
    engine = pair.engine
    for seed in range(4):
        prompt = prompt_of(30, engine.limits, seed)
        plain = answer(engine, prompt, 40, HOT)
        prophet = Prophet(engine._costs, prompt, tokens_of(plain), seed)
        drafted = answer(engine, prompt, 40, HOT, prophet)
        assert tokens_of(drafted) == tokens_of(plain)
        for one, other in zip(drafted, plain, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_guided_answers_are_the_same(pair, tokenizer):
    schema = {
        "type": "object",
        "properties": {"x": {"enum": ["one", "two"]}, "y": {"type": "boolean"}},
        "required": ["x", "y"],
        "additionalProperties": False,
    }
    guidance = Guidance("json_schema", json.dumps(schema))
    prompt = tokenizer.encode("json")

    def guided(drafter=None):
        constraint = tokenizer.constrain(guidance)
        return tokens_of(answer(pair.engine, prompt, 60, GREEDY, drafter, constraint))

    plain = guided()
    for seed in range(4):
        assert guided(Prophet(pair.engine._costs, prompt, plain, seed)) == plain


def test_what_a_grammar_demands_takes_fewer_runs(pair, runs_of, tokenizer):
    """Names of members and punctuation come with the run of the token before them."""
    names = [f"a_long_name_of_a_member_{n}" for n in range(2)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    guidance = Guidance("json_schema", json.dumps(schema))
    prompt = tokenizer.encode("json")
    answers, runs = [], []
    for drafter in (None, Drafter(pair.engine._costs)):
        runs_of |= {"decode": 0, "verify": 0}
        constraint = tokenizer.constrain(guidance)
        said = answer(pair.engine, prompt, 300, GREEDY, drafter, constraint)
        answers.append(tokenizer.decode(tokens_of(said)))
        runs.append(sum(runs_of.values()))
    assert answers[0] == answers[1]
    assert set(json.loads(answers[1])) == set(names)
    assert runs[1] < runs[0] * 0.7


def test_quotes_take_fewer_runs(pair, runs_of):
    """No prophet: a text that repeats itself, and a model that loops."""
    engine = pair.engine
    costs = Costs()
    for size in range(1, MOST_TOKENS + 2):  # as cheap as it gets
        costs.note(size, 0.01)
    said = 0
    for seed in range(12):
        prompt = np.tile(prompt_of(3, engine.limits, seed), 12)
        plain = tokens_of(answer(engine, prompt, 60))
        before = runs_of.copy()
        assert tokens_of(answer(engine, prompt, 60, drafter=Drafter(costs))) == plain
        said += len(plain)
        said -= runs_of["decode"] + runs_of["verify"] - before["decode"] - before["verify"]
    assert said > 12 + 20  # one token of each comes from the prompt's own run


def test_rows_that_come_and_go_beside_one_with_drafts(pair):
    """A row with tokens ahead is joined, moved and left by others."""
    engine, reference = pair
    draw = random.Random(1)
    tally = Tally()
    for round_ in range(12):
        prompts = [
            prompt_of(draw.randint(3, 90), engine.limits, 100 * round_ + n) for n in range(4)
        ]
        alone = [tokens_of(answer(engine, prompt, 30)) for prompt in prompts]
        rows, said = {}, {n: [] for n in range(4)}
        waiting, tick = list(range(4)), 0
        while waiting or rows:
            if waiting and tick % 5 == 0:
                n = waiting.pop(0)
                rows[n] = engine.open(prompts[n], 30, GREEDY)
                rows[n].drafter = Prophet(engine._costs, prompts[n], alone[n], n, truth=0.9)
            for (n, _), step in zip(
                list(rows.items()), engine.advance(list(rows.values())), strict=True
            ):
                assert step.error is None
                said[n] += [step.choice.token] if step.choice else []
                ends = step.choice and step.choice.token in engine.limits.eos_ids
                if ends or len(said[n]) == 30 or draw.random() < 0.01:
                    engine.close(rows.pop(n))
            tick += 1
        for n in range(4):
            tally.add(reference.gaps(prompts[n], said[n]))
    assert tally.tokens > 500
    assert tally.worst <= ROUNDING


def test_any_schedule_with_drafts(paired, verifying_model):
    tally = parity(paired(verifying_model, speculates=True, prefixes=3), examples=60)
    assert tally.worst <= ROUNDING
    assert tally.ties <= 2 + tally.tokens // 1000


@pytest.mark.torch
@pytest.mark.parametrize("name", ["whole", "phi3", "llama", "qwen2", "llama-tuned"])
def test_any_schedule_with_drafts_on_models_of_other_shapes(paired, exports, opened, name):
    tally = parity(paired(opened(exports / name), speculates=True, prefixes=2), examples=30)
    assert tally.worst <= (EIGHT_BITS if name == "llama-tuned" else ROUNDING)


def test_an_answer_never_outgrows_its_room(pair):
    engine = pair.engine
    prompt = prompt_of(20, engine.limits, 9)
    plain = tokens_of(answer(engine, prompt, 40))
    for tokens in range(1, 12):
        prophet = Prophet(engine._costs, prompt, plain, tokens, truth=1.0)
        row = engine.open(prompt, tokens, GREEDY)
        row.drafter = prophet
        said = 0
        while said < tokens:
            (step,) = engine.advance([row])
            said += step.choice is not None
            assert row.length <= len(prompt) + tokens
        assert not row.ahead
        engine.close(row)


def test_a_cached_prefix_holds_what_was_agreed_and_no_more(paired, verifying_model):
    engine, reference = paired(verifying_model, speculates=True, prefixes=3)
    engine._pace = Fixed(64)
    prompt = prompt_of(40, engine.limits, 4)
    plain = tokens_of(answer(engine, prompt, 40))
    for seed in range(5):
        said = tokens_of(
            answer(engine, prompt, 40, drafter=Prophet(engine._costs, prompt, plain, seed))
        )
        longer = np.concatenate([prompt, said, prompt_of(5, engine.limits, seed)]).astype(np.int32)
        after = tokens_of(answer(engine, longer, 10))
        assert max(reference.gaps(longer, after)) <= ROUNDING


def test_a_failure_of_the_runtime_ends_the_row(pair, monkeypatch):
    engine = pair.engine
    prompt = prompt_of(20, engine.limits, 2)
    row = engine.open(prompt, 30, GREEDY)
    row.drafter = Prophet(engine._costs, prompt, prompt_of(30, engine.limits, 3), truth=1.0)
    engine.advance([row])

    def fail(*_):
        raise OrtError("no memory at /some/place")

    monkeypatch.setattr(engine._runs, "verify", fail)
    monkeypatch.setattr(row.drafter, "draft", lambda ids, most: ids[:3])
    (step,) = engine.advance([row])
    assert step.error is not None
    assert "/some" not in str(step.error)
    engine.close(row)


@pytest.mark.torch
def test_a_graph_that_gives_one_tokens_logits_has_no_drafts(exports):
    engine = load(exports / "llama", speculates=True)
    row = engine.open(prompt_of(20, engine.limits), 5, GREEDY)
    assert row.drafter is None
    engine.close(row)
    engine.shutdown()


def test_many_rows_are_decoded_together_and_without_drafts(pair, runs_of):
    engine, reference = pair
    prompts = [np.tile(prompt_of(6, engine.limits, n), 5) for n in range(SLOTS)]
    answers = run(engine, [engine.open(prompt, 20, GREEDY) for prompt in prompts], 20)
    for prompt, tokens in zip(prompts, answers, strict=True):
        assert max(reference.gaps(prompt, tokens)) <= ROUNDING
    assert runs_of["decode"] >= 10
