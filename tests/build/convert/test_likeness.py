"""Two models held against each other."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from build.convert import likeness
from build.convert.likeness import Account, Likeness
from build.errors import InvalidModel
from build.optimize import subjects
from build.optimize.choice import Bounds
from build.optimize.quality import Reading
from build.optimize.subjects import Answer, Scored

BOUNDS = Bounds(most_loss=0.1, least_agreement=0.8)
READING = Reading((), (5, 6, 7, 8, 9))
ALIKE = Likeness(
    parent_perplexity=10.0,
    perplexity=10.5,
    agreement=0.9,
    judged_tokens=100,
    answers=4,
    same_answers=0.75,
    answer_agreement=0.9,
    tokenization=1.0,
)


def account(likeliest=(6, 7, 8, 9), logprob=-1.0, answers=((1, 2, 3), (4, 5)), ids=(5, 6, 7)):
    scored = Scored((logprob,) * len(likeliest), tuple(likeliest))
    return Account(ids, READING, scored, tuple(Answer((9,), tokens) for tokens in answers))


def test_a_model_is_like_itself():
    found = likeness.compare(account(), account())
    assert (found.loss, found.agreement, found.judged_tokens) == (0, 1, 4)
    assert (found.answers, found.same_answers, found.answer_agreement) == (2, 1, 1)
    assert found.tokenization == 1
    assert list(found.problems(Bounds(0, 1))) == []


def test_perplexity_is_of_the_mean_and_loss_is_a_share():
    found = likeness.compare(account(logprob=-2.0), account(logprob=-1.0))
    assert found.parent_perplexity == pytest.approx(math.e)
    assert found.perplexity == pytest.approx(math.e**2)
    assert found.loss == pytest.approx(math.e - 1)


def test_agreement_counts_positions():
    found = likeness.compare(account(likeliest=(6, 0, 8, 0)), account())
    assert found.agreement == 0.5


@pytest.mark.parametrize(
    ("answers", "same", "share"),
    [
        (((1, 2, 3), (4, 5)), 1.0, 1.0),
        (((1, 2, 9), (4, 5)), 0.5, 0.8),
        (((1, 2), (4, 5, 6)), 0.0, 0.8),
        (((9, 2, 3), (4, 9)), 0.0, 0.2),
    ],
)
def test_answers_count_up_to_their_first_difference(answers, same, share):
    found = likeness.compare(account(answers=answers), account())
    assert found.same_answers == same
    assert found.answer_agreement == pytest.approx(share)


def test_an_answer_to_a_prompt_that_was_read_otherwise_is_another():
    other = replace(account(), answers=(Answer((8,), (1, 2, 3)), Answer((9,), (4, 5))))
    found = likeness.compare(other, account())
    assert (found.same_answers, found.answer_agreement) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("ids", "share"), [((5, 6, 7), 1.0), ((5, 0, 7), 1 / 3), ((5, 6), 2 / 3), ((1, 5, 6, 7), 0.0)]
)
def test_tokenizers_agree_up_to_the_first_difference(ids, share):
    assert likeness.compare(account(ids=ids), account()).tokenization == pytest.approx(share)


def test_figures_have_names_in_the_run():
    assert ALIKE.metrics() == {
        "perplexity": 10.5,
        "parent_perplexity": 10.0,
        "perplexity_loss": pytest.approx(0.05),
        "greedy_agreement": 0.9,
        "judged_tokens": 100,
        "compared_answers": 4,
        "same_answers": 0.75,
        "answer_agreement": 0.9,
        "tokenizer_agreement": 1.0,
    }


def test_what_is_within_the_bounds_has_no_problems():
    assert list(ALIKE.problems(BOUNDS)) == []
    assert list(replace(ALIKE, perplexity=5.0).problems(BOUNDS)) == []


def test_what_is_not_is_told_with_its_figures_and_flags():
    bad = replace(ALIKE, perplexity=12.34, agreement=0.5)
    loss, agreement = bad.problems(BOUNDS)
    assert loss == (
        "its perplexity of the text is 12.34, 23.4% above the parent's 10, expected at most 10% "
        "(--most-loss)"
    )
    assert agreement == (
        "it finds the same token likeliest as its parent at 50.0% of the text's positions, "
        "expected at least 80% (--least-agreement)"
    )


@pytest.mark.torch
def test_the_shipped_model_is_like_the_weights_it_was_made_of(parent, demo_model, task):
    parents = likeness.account(parent, task)
    assert len(parents.reading.judged) == task.tokens
    with subjects.started(demo_model, "demo", threads=1) as subject:
        own = likeness.account(subject, task, parents.reading)
    found = likeness.compare(own, parents)
    assert found.tokenization == 1
    assert found.judged_tokens == task.tokens - 1
    assert abs(found.loss) < 0.05
    assert found.agreement > 0.95
    assert found.same_answers == 1


@pytest.mark.torch
def test_a_text_that_is_too_short_is_refused(parent, task):
    with pytest.raises(InvalidModel, match="--text has 1 tokens, expected at least 64"):
        likeness.account(parent, replace(task, text="Spain"))
