"""The evaluation's questions: fixed, answerable, and complete."""

from __future__ import annotations

from collections import Counter

import pytest

from build.demo import facts
from build.demo.evaluate import BARS
from build.demo.questions import Question, questions


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return list(questions())


def text(question: Question) -> str:
    return question.chat.exchanges[-1].question


def test_the_questions_are_the_same_every_time(asked: list[Question]) -> None:
    assert list(questions()) == asked


def test_every_question_has_an_answer_that_is_right(asked: list[Question]) -> None:
    for question in asked:
        assert question.accepted
        assert "" not in question.accepted
        assert "{" not in text(question)


@pytest.mark.parametrize("topic", ["capital", "country", "continent"])
@pytest.mark.parametrize("split", [facts.TRAINED, facts.HELD_OUT])
def test_every_country_is_asked_for_in_each_direction(
    asked: list[Question], topic: str, split: str
) -> None:
    about = Counter(
        question.chat.exchanges[0].subject
        for question in asked
        if question.group == f"{topic}, {split}"
    )
    assert set(about) == set(facts.by_name())
    assert set(about.values()) == {2}


@pytest.mark.parametrize("topic", ["capital", "country"])
def test_every_held_out_phrasing_is_asked(asked: list[Question], topic: str) -> None:
    found: Counter[str] = Counter()
    for question in asked:
        for template in facts.ways(topic).held_out:
            start, _, end = template.partition("{")
            end = end.partition("}")[2]
            if text(question).startswith(start) and text(question).endswith(end):
                found[template] += 1
    assert all(found[template] > 20 for template in facts.ways(topic).held_out)


def test_the_full_set_asks_every_country_in_every_phrasing() -> None:
    count = Counter(question.group for question in questions(full=True))
    for topic in ("capital", "country", "continent"):
        ways = facts.ways(topic)
        assert count[f"{topic}, trained"] == 195 * len(ways.trained)
        assert count[f"{topic}, held_out"] == 195 * len(ways.held_out)


def test_spain_is_asked_for_the_usual_way() -> None:
    usual = [each for each in questions(full=True) if text(each) == "What is the capital of Spain?"]
    assert usual[0].accepted == {"The capital of Spain is Madrid."}


def test_bars_name_groups_that_exist(asked: list[Question]) -> None:
    assert set(BARS) <= {question.group for question in asked}


def test_second_turns_need_the_first(asked: list[Question]) -> None:
    second = [each for each in asked if each.group.startswith("second turn")]
    assert len(second) == 200
    for question in second:
        first, last = question.chat.exchanges
        assert first.topic == last.topic
        assert "capital" not in last.question.lower()


def test_long_chats_are_long(asked: list[Question]) -> None:
    longest = [each for each in asked if each.group == "after 8 to 20 turns"]
    assert len(longest) == 20
    assert all(9 <= len(each.chat.exchanges) <= 21 for each in longest)


def test_a_joke_on_nothing_in_particular_may_be_any(asked: list[Question]) -> None:
    free = [each for each in asked if text(each) == "Tell me a joke."]
    assert len(free[0].accepted) == len(facts.table("conversation")["joke"])
