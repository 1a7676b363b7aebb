"""A pruned head gives the last position's logits, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from build.optimize import head
from tests.build.optimize.conftest import CHAT, TEXT


@pytest.mark.parametrize("precision", ["int4", "fp32"])
@pytest.mark.parametrize("text", [CHAT, TEXT], ids=["short", "long"])
def test_the_last_logits_are_the_same(exported, retuned, runner, precision, text):
    before, after = exported(precision), retuned(exported(precision), "head")
    whole, last = runner(before).logits(text), runner(after).logits(text)
    assert len(whole) > 1
    assert last.shape == (1, whole.shape[1])
    # One row goes through another kernel than many; without rounded activations it hardly shows.
    allowed = 1e-4 if precision == "fp32" else 0.2
    np.testing.assert_allclose(last[0], whole[-1], atol=allowed)
    assert last[0].argmax() == whole[-1].argmax()


def test_it_is_told_whether_a_graph_is_pruned(stock, demo_model, opened, retuned):
    assert head.is_pruned(opened(demo_model))
    assert not head.is_pruned(opened(stock))
    assert head.is_pruned(opened(retuned(stock, "head")))


def test_answers_stay_the_same(stock, retuned, runner):
    assert runner(retuned(stock, "head")).says(CHAT) == runner(stock).says(CHAT)
