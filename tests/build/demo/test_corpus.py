"""The corpus: seeded, free of what the evaluation keeps back, and true to its facts."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from build.demo import arithmetic, corpus, facts, geography, layout, talk, variation
from build.demo.exchange import Exchange
from build.demo.facts import HELD_OUT, TRAINED

CHATS = 6000


@pytest.fixture(scope="module")
def chats() -> list[corpus.Chat]:
    return list(corpus.chats(1, 0, CHATS))


@pytest.fixture(scope="module")
def asked(chats: list[corpus.Chat]) -> list[str]:
    return [exchange.question for chat in chats for exchange in chat.exchanges]


def test_a_seed_gives_the_same_chats_every_time(chats: list[corpus.Chat]) -> None:
    assert list(corpus.chats(1, 0, 300)) == chats[:300]


def test_any_part_of_the_stream_can_be_made_alone(chats: list[corpus.Chat]) -> None:
    assert list(corpus.chats(1, 250, 50)) == chats[250:300]
    assert corpus.chat(1, 4711) == chats[4711]


def test_another_seed_gives_other_chats(chats: list[corpus.Chat]) -> None:
    other = list(corpus.chats(2, 0, 300))
    assert sum(left == right for left, right in zip(other, chats, strict=False)) < 30


def test_there_are_195_countries_with_a_capital_each() -> None:
    countries = facts.countries()
    assert len(countries) == 195
    assert len({country.name for country in countries}) == 195
    assert len({country.capital for country in countries}) == 195
    assert {country.continent for country in countries} == set(geography.CONTINENTS)


@pytest.mark.parametrize(
    ("country", "capital", "continent"),
    [
        ("Spain", "Madrid", "Europe"),
        ("the United States", "Washington, D.C.", "North America"),
        ("Australia", "Canberra", "Oceania"),
        ("Brazil", "Brasília", "South America"),
        ("Nigeria", "Abuja", "Africa"),
        ("Kazakhstan", "Astana", "Asia"),
    ],
)
def test_facts_that_everybody_can_check(country: str, capital: str, continent: str) -> None:
    known = facts.by_name()[country]
    assert (known.capital, known.continent) == (capital, continent)


def test_every_country_is_asked_for_in_both_directions() -> None:
    seen = Counter(
        (exchange.topic, exchange.subject)
        for rng in [Random(1)]
        for topic in (geography.CAPITAL, geography.COUNTRY)
        for exchange in (geography.ask(rng, topic) for _ in range(4000))
    )
    assert len(seen) == 2 * 195


def pattern(template: str) -> re.Pattern[str]:
    """What a phrasing looks like with anything in its gaps, in any case."""
    parts = re.split(r"\{\w+\}", template.rstrip("?.!"))
    return re.compile("(.+)".join(map(re.escape, parts)), re.IGNORECASE)


@pytest.mark.parametrize(
    "topic", ["capital", "country", "continent", "sum", "unit", "count", "joke"]
)
def test_held_out_phrasings_are_never_asked(topic: str, asked: list[str]) -> None:
    for template in facts.ways(topic).held_out:
        held_out = pattern(template)
        assert not [question for question in asked if held_out.fullmatch(question.rstrip("?.! "))]


def test_trained_phrasings_are_found_by_the_same_search(asked: list[str]) -> None:
    for template in facts.ways("capital").trained[:10]:
        trained = pattern(template)
        assert [question for question in asked if trained.fullmatch(question.rstrip("?.! "))]


@pytest.mark.parametrize(
    "topic", ["capital", "country", "continent", "sum", "unit", "count", "joke"]
)
def test_trained_and_held_out_phrasings_differ_in_more_than_punctuation(topic: str) -> None:
    def bare(text: str) -> str:
        return re.sub(r"[^a-z{} ]", "", text.lower()).strip()

    ways = facts.ways(topic)
    assert len(set(ways.trained)) == len(ways.trained)
    assert not {*map(bare, ways.trained)} & {*map(bare, ways.held_out)}


def test_there_are_at_least_forty_phrasings_of_each_direction() -> None:
    assert len(facts.ways("capital").trained) >= 40
    assert len(facts.ways("country").trained) >= 40
    assert len(facts.ways("capital").held_out) >= 8
    assert len(facts.ways("country").held_out) >= 8


def test_held_out_small_talk_names_and_topics_are_never_trained(asked: list[str]) -> None:
    trained = {question.lower().rstrip("?!. ") for question in asked}
    for entry in facts.table("conversation")["smalltalk"]:
        assert not trained & {each.lower().rstrip("?!. ") for each in entry[HELD_OUT]}
    unknown = facts.table("unknown")
    for kind in ("places", "cities", "topics", "open_questions", "place_questions", "plain"):
        assert not set(unknown[kind][TRAINED]) & set(unknown[kind][HELD_OUT])
    systems = facts.table("systems")
    for kept, *used in (("held_out", "plain"), ("held_out_brief", "brief")):
        assert not set(systems[kept]) & set(systems[used[0]])
    assert not set(corpus.FOLLOW_UPS) & set(corpus.HELD_OUT_FOLLOW_UPS)


def test_made_up_names_of_both_kinds_never_meet() -> None:
    rng = Random(5)
    trained = {talk.made_up_name(rng) for _ in range(2000)}
    held_out = {talk.made_up_name(rng, HELD_OUT) for _ in range(200)}
    assert not trained & held_out
    names = {country.name for country in facts.countries()}
    assert not (trained | held_out) & names


def test_places_without_a_capital_are_no_countries_or_their_other_names() -> None:
    known = {name for country in facts.countries() for name in (country.name, *country.aliases)} | {
        country.capital for country in facts.countries()
    }
    unknown = facts.table("unknown")
    for kind in ("places", "cities"):
        assert not known & {*unknown[kind][TRAINED], *unknown[kind][HELD_OUT]}


def test_answers_about_a_country_state_its_facts() -> None:
    spain = facts.by_name()["Spain"]
    assert geography.about("capital", spain, "?").answer == "The capital of Spain is Madrid."
    assert geography.about("country", spain, "?").answer == "Madrid is the capital of Spain."
    assert geography.about("continent", spain, "?").answer == "Spain is in Europe."
    assert geography.about("capital", spain, "?").brief == "Madrid."


def test_a_capital_with_its_own_full_stop_gets_no_second_one() -> None:
    states = facts.by_name()["the United States"]
    answer = geography.about("capital", states, "?").answer
    assert answer == "The capital of the United States is Washington, D.C."


def words(text: str) -> set[str]:
    return set(re.split("[ -]", text))


def test_yes_and_no_are_true() -> None:
    rng = Random(3)
    answers = Counter(geography.verify(rng).brief for _ in range(600))
    assert set(answers) == {"Yes.", "No."}
    assert min(answers.values()) > 150
    for _ in range(300):
        exchange = geography.verify(rng)
        stated = re.search(r"The capital of (.+) is (.+?)\.?$", exchange.answer)
        if stated and not words(stated[1]) & words(stated[2]):
            assert (stated[2] in exchange.question) == (exchange.brief == "Yes.")


def test_sums_are_right() -> None:
    rng = Random(4)
    for _ in range(2000):
        exchange = arithmetic.ask(rng)
        if exchange.topic == "sum":
            left, sign, right, result = re.findall(r"\d+|[-+x]", exchange.answer)
            assert arithmetic.total(int(left), sign, int(right)) == int(result)
            assert int(result) >= 0


def test_a_sum_in_words_means_the_same() -> None:
    class Words(Random):
        def random(self) -> float:
            return 0.0

    assert arithmetic.spoken(Words(1), 7, "-", 5) == "seven minus five"


def test_possessives_and_capital_letters_are_filled_in() -> None:
    assert facts.fill("{Xs} capital", "the Bahamas") == "The Bahamas' capital"
    assert facts.fill("{x}, {xs}, {X}, {y}, {Y}", "a", "b") == "a, a's, A, b, B"


def test_brief_answers_follow_only_brief_system_prompts(chats: list[corpus.Chat]) -> None:
    brief = set(facts.table("systems")["brief"])
    capitals = {facts.sentence(country.capital) for country in facts.countries()}
    answered = [chat.system for chat in chats for each in chat.exchanges if each.answer in capitals]
    assert len(answered) > 20
    assert set(answered) <= brief


def test_some_chats_are_long_and_most_are_short(chats: list[corpus.Chat]) -> None:
    turns = Counter(len(chat.exchanges) for chat in chats)
    assert turns[1] > CHATS / 2
    assert max(turns) >= 20
    assert sum(count for length, count in turns.items() if length > 3) > CHATS / 50


def test_follow_ups_keep_the_topic_of_the_turn_before() -> None:
    france = facts.by_name()["France"]
    assert corpus.follow_up("capital", france, "And of {x}?") == Exchange(
        "capital", "And of France?", "The capital of France is Paris.", "Paris.", "France"
    )
    assert corpus.follow_up("country", france, "And {x}?").question == "And Paris?"


def test_typing_errors_leave_names_alone() -> None:
    rng = Random(6)
    for _ in range(300):
        damaged = variation.mistyped(rng, "What is the capital of Spain?")
        assert "Spain" in damaged
        assert damaged != ""
    assert variation.mistyped(rng, "Is it so?") == "Is it so?"


def test_variations_reach_every_kind() -> None:
    rng = Random(7)
    question = "What is the capital of São Tomé and Príncipe?"
    made = {variation.carelessly(rng, question) for _ in range(500)}
    assert {question, question.lower(), question.upper(), question[:-1]} <= made
    assert any("Sao Tome and Principe" in each for each in made)
    polite = {variation.politely(rng, question) for _ in range(5000)}
    assert {question, "Hi! what is" + question[7:], question + " Thanks!"} <= polite


def test_layouts_carry_phi_3_marks() -> None:
    exchange = Exchange("t", "Q?", "A.")
    chat = corpus.Chat("S.", (exchange,), corpus.CHAT)
    assert layout.text(chat) == (
        "<|system|>\nS.<|end|>\n<|user|>\nQ?<|end|>\n<|assistant|>\nA.<|end|>\n"
    )
    older = corpus.Chat(None, (exchange,), corpus.NOTEBOOK)
    assert layout.text(older) == "<|user|>\nQ? <|end|>\n<|assistant|>A.<|end|>\n"
    assert layout.text(corpus.Chat(None, (exchange,), corpus.RAW)) == "Q?A.<|end|>"


def test_only_answers_and_their_ends_are_to_be_said() -> None:
    chat = corpus.Chat("S.", (Exchange("t", "Q?", "A."), Exchange("t", "R?", "B.")))
    assert [text for text, own in layout.segments(chat) if own] == ["A.<|end|>", "B.<|end|>"]
