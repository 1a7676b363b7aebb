"""Sampling against a slow reference in plain Python, and against the chi-square distribution."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engine.sampling import Sampler, candidates, score
from edge.errors import EngineFailed
from edge.generation import Sampling

NO_PROMPT = np.array([], dtype=np.int32)
# Distinct, so that no reference has to know how ties are broken; spaced, so that rounding
# does not move the edge of a nucleus.
LOGITS = st.lists(
    st.integers(-400, 400).map(lambda value: value / 16), min_size=1, max_size=40, unique=True
)
SETTINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.1, 0.5, 0.7, 1.0, 1.3, 2.0]),
    top_k=st.integers(0, 50),
    top_p=st.sampled_from([0.0, 0.1, 0.33, 0.5, 0.9, 0.97, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
)


def array(values):
    return np.array(values, dtype=np.float32)


def softmax(values, temperature=1.0):
    top = max(values)
    weights = [math.exp((value - top) / temperature) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def reference(values, sampling):
    """Token -> probability: top-k, then top-p of what is left, then min-p, then renormalized."""
    probabilities = dict(enumerate(softmax(values, sampling.temperature)))
    ranked = sorted(probabilities, key=lambda token: -values[token])
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    if sampling.top_p < 1:
        total = math.fsum(probabilities[token] for token in ranked)
        kept, mass = [], 0.0
        for token in ranked:
            kept.append(token)
            mass += probabilities[token]
            if mass >= sampling.top_p * total:
                break
        ranked = kept
    least = sampling.min_p * probabilities[ranked[0]]
    ranked = [token for token in ranked if probabilities[token] >= least]
    total = math.fsum(probabilities[token] for token in ranked)
    return {token: probabilities[token] / total for token in ranked}


def actual(values, sampling):
    tokens, weights = candidates(array(values), sampling)
    assert len(tokens) == len(weights) == len(set(tokens.tolist()))
    return dict(zip(tokens.tolist(), (weights / weights.sum()).tolist(), strict=True))


@settings(max_examples=400)
@given(LOGITS, SETTINGS)
def test_candidates_and_weights_are_those_of_the_reference(values, sampling):
    wanted, got = reference(values, sampling), actual(values, sampling)
    # A token whose weight is nil to the last bit may stand or fall.
    assert {t for t, p in got.items() if p > 1e-12} == {t for t, p in wanted.items() if p > 1e-12}
    for token, probability in wanted.items():
        assert got.get(token, 0.0) == pytest.approx(probability, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("top_p", [0.2, 0.9, 0.999999])
@pytest.mark.parametrize("top_k", [0, 3, 600, 5000])
@pytest.mark.parametrize("spread", [0.001, 3.0])
def test_nuclei_wider_than_the_first_guess(top_p, top_k, spread):
    """Flat distributions over many tokens: the nucleus does not fit the first partial sort."""
    random = np.random.default_rng(7)
    values = np.unique(random.normal(0, spread, 4000).astype(np.float32))
    random.shuffle(values)
    sampling = Sampling(temperature=1.0, top_k=top_k, top_p=top_p)
    wanted, got = reference(values.tolist(), sampling), actual(values, sampling)
    # At an edge that float rounding can move, one token more or less is right.
    assert len(wanted.keys() ^ got.keys()) <= 1
    assert max(wanted, key=wanted.get) == max(got, key=got.get)


def test_candidates_are_ranked_where_they_are_cut():
    tokens, weights = candidates(array([1, 5, 3, 4]), Sampling(top_k=3))
    assert tokens.tolist() == [1, 3, 2]
    assert weights.tolist() == sorted(weights.tolist(), reverse=True)


def test_ties_go_to_the_lower_id():
    tokens, _ = candidates(array([2, 2, 2, 2]), Sampling(top_k=3))
    assert len(tokens) == 3
    choice = Sampler(Sampling(temperature=0), NO_PROMPT, None).choose(array([1, 7, 7, 7]))
    assert choice.token == 1


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-9])
def test_the_tiniest_temperature_is_greedy(temperature):
    sampler = Sampler(Sampling(temperature=temperature, seed=1), NO_PROMPT, None)
    logits = array([0.0, 3.0, 2.999, -1e30])
    assert {sampler.choose(logits).token for _ in range(20)} == {1}


def test_greedy_takes_the_most_likely_and_ignores_the_seed():
    logits = array(np.random.default_rng(0).normal(size=300))
    for sampling in (Sampling(temperature=0, seed=5), Sampling(top_k=1, seed=9), Sampling(top_p=0)):
        sampler = Sampler(sampling, NO_PROMPT, None)
        assert {sampler.choose(logits).token for _ in range(5)} == {int(logits.argmax())}


def test_the_logits_are_left_as_they_were():
    logits = array([1.0, 2.0, 3.0])
    before = logits.copy()
    sampling = Sampling(logit_bias={0: 5.0}, repetition_penalty=1.5, presence_penalty=1.0, seed=1)
    sampler = Sampler(sampling, np.array([1], dtype=np.int32), None)
    for _ in range(3):
        sampler.choose(logits)
    assert (logits == before).all()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=11),
        Sampling(temperature=0.6, seed=12),
        Sampling(temperature=1.7, top_k=5, seed=13),
        Sampling(top_p=0.8, seed=14),
        Sampling(min_p=0.2, seed=15),
        Sampling(temperature=1.2, top_k=8, top_p=0.9, min_p=0.05, seed=16),
        Sampling(logit_bias={0: 2.0, 3: -100.0}, seed=17),
    ],
    ids=repr,
)
def test_draws_follow_the_distribution(sampling):
    values = [0.0, 1.0, -1.0, 2.5, 0.5, 1.5, -2.0, 2.0, 0.25, 0.75]
    biased = [value + sampling.logit_bias.get(token, 0) for token, value in enumerate(values)]
    expected = {t: p for t, p in reference(biased, sampling).items() if p > 1e-9}
    draws = 6000
    sampler = Sampler(sampling, NO_PROMPT, None)
    seen = Counter(sampler.choose(array(values)).token for _ in range(draws))
    assert seen.keys() <= expected.keys()
    tokens = sorted(expected)
    result = scipy.stats.chisquare(
        [seen[token] for token in tokens], [expected[token] * draws for token in tokens]
    )
    assert result.pvalue > 0.001


@given(st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50)
def test_a_seed_repeats_itself(seed):
    logits = array(np.linspace(0, 1, 50))
    runs = [
        [sampler.choose(logits).token for _ in range(10)]
        for sampler in (Sampler(Sampling(seed=seed), NO_PROMPT, None) for _ in range(2))
    ]
    assert runs[0] == runs[1]


def test_without_a_seed_and_with_another_the_draws_differ():
    logits = array(np.zeros(1000))

    def draws(seed):
        sampler = Sampler(Sampling(seed=seed), NO_PROMPT, None)
        return tuple(sampler.choose(logits).token for _ in range(20))

    assert len({draws(None), draws(None), draws(1), draws(2), draws(-1)}) == 5


PENALTIES = st.fixed_dictionaries(
    {
        "repetition_penalty": st.sampled_from([0.5, 1.0, 1.2, 2.0]),
        "presence_penalty": st.sampled_from([-2.0, 0.0, 0.5, 2.0]),
        "frequency_penalty": st.sampled_from([-1.0, 0.0, 0.25, 2.0]),
    }
)


def penalized(values, prompt, generated, bias, knobs):
    """OpenAI's and CTRL's formulas, one token at a time."""
    counts, result = Counter(generated), []
    for token, value in enumerate(values):
        adjusted = value + bias.get(token, 0.0)
        if token in counts or token in prompt:
            factor = knobs["repetition_penalty"]
            adjusted = adjusted / factor if adjusted > 0 else adjusted * factor
        if token in counts:
            adjusted -= knobs["presence_penalty"] + knobs["frequency_penalty"] * counts[token]
        result.append(adjusted)
    return result


@settings(max_examples=150)
@given(
    st.lists(st.integers(-64, 64).map(lambda v: v / 8), min_size=6, max_size=6, unique=True),
    st.lists(st.integers(0, 5), max_size=5),
    st.dictionaries(st.integers(0, 5), st.sampled_from([-100.0, -1.5, 0.5, 8.0, 100.0])),
    PENALTIES,
)
def test_penalties_and_bias_are_those_of_the_formulas(values, prompt, bias, knobs):
    sampling = Sampling(temperature=0, logit_bias=bias, **knobs)
    sampler = Sampler(sampling, np.array(prompt, dtype=np.int32), None)
    generated = []
    for _ in range(8):
        wanted = penalized(values, prompt, generated, bias, knobs)
        token = sampler.choose(array(values)).token
        assert wanted[token] == pytest.approx(max(wanted), abs=1e-4)
        generated.append(token)


def test_frequency_penalty_spreads_the_draws():
    sampler = Sampler(Sampling(temperature=0, frequency_penalty=2.0), NO_PROMPT, None)
    tokens = [sampler.choose(array([1.0, 0.9, 0.8])).token for _ in range(6)]
    assert sorted(tokens) == [0, 0, 1, 1, 2, 2]


def test_a_presence_penalty_does_not_touch_the_prompt():
    sampler = Sampler(
        Sampling(temperature=0, presence_penalty=2.0), np.array([0], dtype=np.int32), None
    )
    assert sampler.choose(array([1.0, 0.5])).token == 0


@settings(max_examples=100)
@given(LOGITS, st.integers(0, 20), SETTINGS)
def test_log_probabilities_are_the_models_own(values, alternatives, sampling):
    """Whatever the settings: natural logarithms of the plain softmax."""
    asked = dataclasses.replace(sampling, seed=3, logprobs=alternatives, logit_bias={0: 4.0})
    choice = Sampler(asked, NO_PROMPT, None).choose(array(values))
    plain = [math.log(p) if p > 0 else -math.inf for p in softmax(values)]
    assert choice.logprob == pytest.approx(plain[choice.token], abs=1e-5)
    ranked = sorted(range(len(values)), key=lambda token: -values[token])[:alternatives]
    assert [token for token, _ in choice.top] == ranked
    assert [logprob for _, logprob in choice.top] == pytest.approx(
        [plain[token] for token in ranked], abs=1e-5
    )


def test_no_log_probabilities_unless_asked_for():
    choice = Sampler(Sampling(seed=1), NO_PROMPT, None).choose(array([1.0, 2.0]))
    assert (choice.logprob, choice.top) == (None, ())
    zero = Sampler(Sampling(seed=1, logprobs=0), NO_PROMPT, None).choose(array([1.0, 2.0]))
    assert zero.logprob is not None
    assert zero.top == ()


def test_scores_of_enormous_logits_are_finite():
    choice = score(array([1e30, 0.0, -1e30]), 0, 1)
    assert choice.logprob == 0.0
    assert choice.top == ((0, 0.0),)


class Only:
    """A constraint that allows a fixed set and remembers what was chosen."""

    def __init__(self, *tokens):
        self.tokens, self.accepted = tokens, []

    def allowed(self, vocab_size):
        mask = np.zeros(vocab_size, dtype=np.bool_)
        mask[list(self.tokens)] = True
        return mask

    def accept(self, token):
        self.accepted.append(token)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_a_constraint_beats_likelihood_and_bias(temperature):
    only = Only(1, 4)
    sampling = Sampling(temperature=temperature, seed=2, logit_bias={0: 100.0}, top_p=0.9)
    sampler = Sampler(sampling, NO_PROMPT, only)
    tokens = [sampler.choose(array([90.0, 1.0, 80.0, 70.0, 1.5])).token for _ in range(30)]
    assert set(tokens) <= {1, 4}
    assert only.accepted == tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_constraint_that_allows_nothing_ends_the_row(temperature):
    sampler = Sampler(Sampling(temperature=temperature), NO_PROMPT, Only())
    with pytest.raises(EngineFailed):
        sampler.choose(array([1.0, 2.0]))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("broken", [[math.nan] * 3, [1.0, math.nan, 2.0], [-math.inf] * 3])
def test_logits_that_are_no_numbers_end_the_row(temperature, broken):
    """A broken model must not answer with token 0 for ever."""
    sampler = Sampler(Sampling(temperature=temperature, seed=1), NO_PROMPT, None)
    with pytest.raises(EngineFailed):
        sampler.choose(array(broken))
