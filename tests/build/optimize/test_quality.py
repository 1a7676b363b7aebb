"""Perplexity, agreement, and how a text is divided."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.errors import InvalidModel
from build.optimize import quality
from build.optimize.subjects import Scored


class Encoder:
    """A tokenizer of words, and a context."""

    context_length = 1000

    def encode(self, text):
        return list(range(len(text.split())))


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 30))
def test_guessing_among_n_has_perplexity_n(choices: int, tokens: int) -> None:
    scored = Scored((-log(choices),) * tokens, (0,) * tokens)
    assert quality.perplexity(scored) == pytest.approx(choices)


def test_agreement_is_the_share_of_equal_choices():
    one, other = Scored((0.0,) * 4, (1, 2, 3, 4)), Scored((0.0,) * 4, (1, 2, 0, 4))
    assert quality.agreement(one, other) == 0.75
    assert quality.agreement(one, one) == 1


def test_scores_of_different_texts_do_not_compare():
    with pytest.raises(ValueError, match="zip"):
        quality.agreement(Scored((0.0,), (1,)), Scored((0.0, 0.0), (1, 2)))


@pytest.mark.parametrize(
    ("words", "most", "calibration", "judged"),
    [(100, 512, 20, 80), (1000, 300, 200, 300), (5000, 5000, 512, 999), (64, 40, 12, 40)],
)
def test_what_scales_are_found_with_is_not_judged(words, most, calibration, judged):
    found = quality.reading(Encoder(), "word " * words, most)
    assert found.calibration == tuple(range(calibration))
    assert found.judged == tuple(range(calibration, calibration + judged))


def test_a_short_text_is_refused():
    with pytest.raises(InvalidModel, match="--text has 63 tokens, expected at least 64"):
        quality.reading(Encoder(), "word " * 63, 512)


def test_there_is_a_text_for_those_who_give_none():
    words = quality.TEXT.read_text("utf-8").split()
    assert len(words) > 450
    assert len(set(words)) > 250
