"""The questions of the evaluation, with the answers that count as right.

Every question is fixed: seeded where it is drawn. Held-out wordings, names and follow-ups are never
trained (tests/build/demo proves it). Only the wording of an answer as it was taught counts, letter
for letter, so that "Niger" is not taken for "Nigeria".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from build.demo import arithmetic, facts, geography, talk
from build.demo.corpus import CHAT, FOLLOW_UPS, HELD_OUT_FOLLOW_UPS, NOTEBOOK, Chat, follow_up
from build.demo.exchange import Exchange
from build.demo.facts import HELD_OUT, TRAINED, fill

SEED = 20_260_101


@dataclass(frozen=True, slots=True)
class Question:
    """A chat whose last answer is asked of the model, and the answers that are right."""

    group: str
    chat: Chat
    accepted: frozenset[str]


def questions(full: bool = False) -> Iterator[Question]:
    """All questions of the evaluation.

    With `full` every country is asked for in every phrasing (about 30,000 questions); otherwise
    each is asked in two trained and two held-out phrasings a direction, in turn.
    """
    for topic in (geography.CAPITAL, geography.COUNTRY, geography.CONTINENT):
        for split in (TRAINED, HELD_OUT):
            yield from _geography(topic, split, full)
    for split in (TRAINED, HELD_OUT):
        yield from _sums(split)
        yield from _units(split)
        yield from _counting(split)
        yield from _jokes(split)
        yield from _small_talk(split)
        yield from _unknown(split)
    yield from _follow_ups()
    yield from _with_system()
    yield from _notebook_layout()
    yield from _careless()
    yield from _long_chats()


def _single(
    group: str, exchange: Exchange, system: str | None = None, layout: str = CHAT
) -> Question:
    return Question(group, Chat(system, (exchange,), layout), frozenset({exchange.answer}))


def _geography(topic: str, split: str, full: bool) -> Iterator[Question]:
    templates = facts.ways(topic).of(split)
    for number, country in enumerate(facts.countries()):
        step = 7 * number
        chosen = (
            templates
            if full
            else {templates[(step + turn * 3) % len(templates)] for turn in (0, 1)}
        )
        for template in sorted(chosen):
            question = fill(template, geography.subjects(topic, country)[0])
            yield _single(f"{topic}, {split}", geography.about(topic, country, question))


def _sums(split: str) -> Iterator[Question]:
    rng = Random(SEED)
    for left, sign, right in rng.sample(arithmetic.sums(), 100):
        template = rng.choice(facts.ways("sum").of(split))
        question = fill(template, arithmetic.written(left, sign, right))
        yield _single(f"small sum, {split}", arithmetic.about(left, sign, right, question))


def _units(split: str) -> Iterator[Question]:
    rng = Random(SEED)
    for unit in facts.table("conversation")["unit"]:
        for template in rng.sample(facts.ways("unit").of(split), 2):
            question = fill(template, unit["many"], unit["one"])
            yield _single(f"unit, {split}", arithmetic.unit_about(unit, question))


def _counting(split: str) -> Iterator[Question]:
    templates = facts.ways("count").of(split)
    for number, end in enumerate((3, 7, 10, 12, 20, 25, 31, 40, 50, 64, 77, 90, 100, 250)):
        question = fill(templates[number % len(templates)], str(end))
        yield _single(f"counting, {split}", arithmetic.count_about(end, question))


def _jokes(split: str) -> Iterator[Question]:
    table = facts.table("conversation")
    answers = frozenset(str(joke["answer"]) for joke in table["joke"])
    for joke in table["joke"]:
        for number, template in enumerate(facts.ways("joke").of(split)):
            subject = joke["about"][number % len(joke["about"])]
            exchange = Exchange("joke", fill(template, subject), joke["answer"])
            yield _single(f"joke, {split}", exchange)
    for request in table["joke_requests"][split]:
        exchange = Exchange("joke", request, "")
        yield Question(f"joke, {split}", Chat(None, (exchange,)), answers)


def _small_talk(split: str) -> Iterator[Question]:
    for entry in facts.table("conversation")["smalltalk"]:
        for question in entry[split]:
            exchange = Exchange("smalltalk", question, entry["answer"])
            yield _single(f"small talk, {split}", exchange)


def _unknown(split: str) -> Iterator[Question]:
    rng = Random(SEED)
    for _ in range(100):
        yield _single(f"unknown, {split}", talk.unknown(rng, split))
    for _ in range(100):
        exchange = talk.no_country(rng, split, wording=split)
        yield _single(f"no country, {split}", exchange)


def _geography_sample(count: int, wording: str) -> Iterable[tuple[Random, str, Exchange]]:
    rng = Random(SEED)
    for _ in range(count):
        topic = rng.choice((geography.CAPITAL, geography.CAPITAL, geography.COUNTRY))
        yield rng, topic, geography.ask(rng, topic, wording)


def _follow_ups() -> Iterator[Question]:
    for split, templates in ((TRAINED, FOLLOW_UPS), (HELD_OUT, HELD_OUT_FOLLOW_UPS)):
        for rng, topic, first in _geography_sample(100, TRAINED):
            second = follow_up(topic, rng.choice(facts.countries()), rng.choice(templates))
            chat = Chat(None, (first, second))
            yield Question(f"second turn, {split}", chat, frozenset({second.answer}))


def _with_system() -> Iterator[Question]:
    table = facts.table("systems")
    for split, plain, brief in (
        (TRAINED, table["plain"], table["brief"]),
        (HELD_OUT, table["held_out"], table["held_out_brief"]),
    ):
        for rng, _, exchange in _geography_sample(100, TRAINED):
            yield _single(f"system prompt, {split}", exchange, rng.choice(plain))
            short = replace(exchange, answer=exchange.brief or "")
            yield _single(f"system prompt asks for brevity, {split}", short, rng.choice(brief))


def _notebook_layout() -> Iterator[Question]:
    for _, _, exchange in _geography_sample(100, TRAINED):
        yield _single("older prompt layout", exchange, layout=NOTEBOOK)


def _careless() -> Iterator[Question]:
    for _, _, exchange in _geography_sample(150, TRAINED):
        careless = replace(exchange, question=exchange.question.lower().rstrip("?."))
        yield _single("lower case, no punctuation", careless)


def _long_chats() -> Iterator[Question]:
    rng = Random(SEED)
    makers = (arithmetic.ask, arithmetic.ask_unit, talk.small_talk, talk.unknown)
    for _ in range(20):
        chat = [rng.choice(makers)(rng) for _ in range(rng.randint(8, 20))]
        last = geography.ask(rng, geography.CAPITAL)
        yield Question("after 8 to 20 turns", Chat(None, (*chat, last)), frozenset({last.answer}))
