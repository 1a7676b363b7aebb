"""How long the next prefill chunk is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engine.pace import Pace


def test_the_first_chunk_is_careful():
    assert Pace(0.1).tokens == 32


def test_it_settles_on_the_time_asked_for():
    pace = Pace(0.1)
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens * 0.001)
    assert pace.tokens == pytest.approx(100, abs=1)


def test_it_follows_a_machine_that_slows_down():
    pace = Pace(0.1)
    for _ in range(10):
        pace.note(pace.tokens, pace.tokens * 0.001)
    before = pace.tokens
    pace.note(pace.tokens, pace.tokens * 0.01)
    assert pace.tokens < before
    for _ in range(30):
        pace.note(pace.tokens, pace.tokens * 0.01)
    assert pace.tokens == pytest.approx(10, abs=1)


@given(st.lists(st.tuples(st.integers(1, 512), st.floats(0, 100)), max_size=30))
def test_chunks_stay_within_bounds(notes):
    pace = Pace(0.1)
    for tokens, seconds in notes:
        pace.note(tokens, seconds)
        assert 8 <= pace.tokens <= 512


def test_patience_makes_calls_four_times_as_long():
    pace = Pace(0.1)
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens * 0.001)
    pace.is_patient = True
    assert pace.tokens == pytest.approx(400, abs=4)
    pace.is_patient = False
    assert pace.tokens == pytest.approx(100, abs=1)


def steady(step_s, target_s=0.1):
    """A pace that knows prefills of a millisecond a token, beside steps of `step_s`."""
    pace = Pace(target_s)
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens * 0.001)
        pace.note_step(step_s)
    return pace


def test_beside_running_answers_a_call_takes_some_of_their_steps():
    assert steady(0.02).tokens == pytest.approx(40, abs=1)


def test_short_calls_and_long_ones_are_learnt_apart():
    """A token costs more in a short call: what long ones taught would make it too long."""
    pace = Pace(0.1)
    pace.is_patient = True
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens * 0.001)
    pace.is_patient = False
    pace.note_step(0.02)
    assert pace.tokens == pytest.approx(26, abs=1)  # careful, before the first one
    for _ in range(20):
        pace.note(pace.tokens, pace.tokens * 0.002)
    assert pace.tokens == pytest.approx(20, abs=1)
    pace.is_patient = True
    assert pace.tokens == pytest.approx(400, abs=4)


def test_slow_steps_do_not_make_calls_longer_than_was_set():
    assert steady(0.5).tokens == pytest.approx(100, abs=1)


def test_fast_steps_do_not_chop_a_prompt_to_pieces():
    assert steady(0.0005).tokens == pytest.approx(10, abs=1)


def test_patience_does_not_look_at_steps():
    pace = steady(0.02)
    pace.is_patient = True
    assert pace.tokens == pytest.approx(400, abs=4)
