"""Drafts: where they come from, how long they are, and when there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engine.decoder.drafts import MOST_TOKENS, Costs, Drafter, lookup

TEXT = st.lists(st.integers(0, 3), max_size=60).map(lambda ids: np.array(ids, np.int32))


def ids(text: str) -> np.ndarray:
    return np.array([ord(letter) for letter in text], np.int32)


def found(text: str, most: int = 4) -> str:
    return "".join(map(chr, lookup(ids(text), most)))


@pytest.mark.parametrize(
    ("text", "draft"),
    [
        ("abcd..abc", "d..a"),
        ("abX ab", "X ab"),
        ("abX abY ab", "Y ab"),  # the latest
        ("1abX 2abY 1ab", "X 2a"),  # the longest match wins
        ("abcdefgX qbcdefgY abcdefg", "Y ab"),  # beyond six the latest does
        ("aX a", ""),  # one token is no match
        ("abcdef", ""),
        ("aaaa", "a"),
        ("", ""),
        ("ab", ""),
        ("abab", "ab"),
    ],
)
def test_what_followed_the_latest_of_the_longest_matches(text, draft):
    assert found(text) == draft


def test_no_more_than_was_asked_for():
    assert found("abcdefgh ab", 3) == "cde"
    assert found("abcdefgh ab", 0) == ""


def plain_lookup(sequence: list[int], most: int) -> list[int]:
    """The rule, word by word."""
    best, start = 1, None
    for end in range(1, len(sequence)):
        size = 0
        while size < min(6, end) and sequence[end - 1 - size] == sequence[-1 - size]:
            size += 1
        if size >= best and size >= 2:
            best, start = size, end
    return [] if start is None or len(sequence) < 3 else sequence[start : start + most]


@given(TEXT, st.integers(0, 8))
def test_any_text(text, most):
    assert lookup(text, most).tolist() == plain_lookup(text.tolist(), most)


def costs_of(table: dict[int, float]) -> Costs:
    costs = Costs()
    for tokens, seconds in table.items():
        costs.note(tokens, seconds)
    return costs


def test_costs_are_in_runs_of_one_token():
    costs = costs_of({1: 0.01, 4: 0.02})
    assert costs.of(4) == pytest.approx(2)
    assert costs.of(1) == 1
    assert 1 < costs.of(3) < costs.of(5)  # not measured yet


def test_costs_follow_what_is_measured():
    costs = costs_of({1: 0.01, 3: 0.01})
    for _ in range(60):
        costs.note(3, 0.03)
    assert costs.of(3) == pytest.approx(3, rel=0.01)


REPEATING = ids("the quick brown fox. " * 3)


def test_a_draft_that_costs_nothing_is_as_long_as_can_be():
    drafter = Drafter(costs_of(dict.fromkeys(range(1, 9), 0.01)))
    assert len(drafter.draft(REPEATING, 100)) == MOST_TOKENS
    assert len(drafter.draft(REPEATING, 3)) == 3
    assert len(drafter.draft(REPEATING, 0)) == 0


def test_a_draft_that_costs_as_much_as_it_brings_is_not_made():
    drafter = Drafter(costs_of({tokens: 0.01 * tokens for tokens in range(1, 9)}))
    assert len(drafter.draft(REPEATING, 100)) == 0


def test_drafts_grow_with_their_luck_and_stop_without():
    drafter = Drafter(Costs())
    lengths = [len(drafter.draft(REPEATING, 100))]
    for _ in range(30):
        drafter.note(lengths[-1], lengths[-1])
        lengths.append(len(drafter.draft(REPEATING, 100)))
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] == MOST_TOKENS
    while lengths[-1]:
        drafter.note(0, lengths[-1])
        lengths.append(len(drafter.draft(REPEATING, 100)))
        assert len(lengths) < 80


def test_what_was_not_used_is_judged_too():
    drafter = Drafter(Costs())
    while len(drafter.draft(REPEATING, 100)):
        drafter.note(0, 1)
    follows = int(lookup(REPEATING, 1)[0])
    turns = 0
    while not len(drafter.draft(REPEATING, 100)):
        drafter.note_plain(follows)
        turns += 1
        assert turns < 30
    assert turns


def test_where_there_was_nothing_to_draft_nothing_is_learnt():
    drafter = Drafter(Costs())
    before = drafter._rate
    drafter.draft(ids("abcdef"), 10)
    drafter.note_plain(5)
    assert drafter._rate == before


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7))), TEXT)
def test_a_draft_is_always_a_part_of_the_text(history, text):
    drafter = Drafter(Costs())
    for kept, drafted in history:
        drafter.note(min(kept, drafted), drafted)
        assert 0 <= drafter._rate <= 1
    draft = drafter.draft(text, 5)
    assert draft.tolist() == lookup(text, 5).tolist()[: len(draft)]
