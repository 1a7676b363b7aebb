"""The training corpus: an endless, seeded stream of chats.

`chat(seed, index)` is a pure function, so any part of the stream can be made anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from build.demo import arithmetic, facts, geography, talk, variation
from build.demo.exchange import Exchange
from build.demo.facts import fill

CHAT, NOTEBOOK, RAW = "chat", "notebook", "raw"
"""Layouts: Phi-3's own; the older hand-written one (blank before the end mark, no line break after
the assistant mark); and no marks at all, as a plain completion is asked."""

Maker = Callable[[Random], Exchange]
MAKERS: Mapping[str, Maker] = {
    "capital": lambda rng: geography.ask(rng, geography.CAPITAL),
    "country": lambda rng: geography.ask(rng, geography.COUNTRY),
    "continent": lambda rng: geography.ask(rng, geography.CONTINENT),
    "verify": geography.verify,
    "sum": arithmetic.ask,
    "unit": arithmetic.ask_unit,
    "count": arithmetic.ask_count,
    "joke": talk.joke,
    "smalltalk": talk.small_talk,
    "no country": talk.no_country,
    "unknown": talk.unknown,
}


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each maker is called, and how often a question is garbled beyond carelessness."""

    weights: tuple[float, ...]
    garbled: float = 0.0


BROAD = Mix((0.27, 0.23, 0.07, 0.03, 0.13, 0.03, 0.02, 0.05, 0.05, 0.06, 0.08))
PRACTICE = Mix((0.19, 0.19, 0.05, 0.02, 0.30, 0.02, 0.07, 0.03, 0.05, 0.05, 0.06), garbled=0.12)
"""The mix of the run at large, and the one of its end: more of what is hard, sums above all."""

FOLLOW_UPS: tuple[str, ...] = (
    *("And of {x}?", "And {x}?", "And for {x}?", "What about {x}?", "How about {x}?"),
    *("and {x}", "{X}?", "And what is it for {x}?", "The same for {x}?", "Next: {x}."),
)
HELD_OUT_FOLLOW_UPS = ("And what about {x}?", "Now {x}.")
ASK_CONTINENT = ("And which continent is it in?", "Which continent is that?", "On which continent?")
ASK_CAPITAL = ("And what is its capital?", "And its capital?", "What is the capital there?")


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation as it is trained: an optional system prompt, then questions and answers."""

    system: str | None
    exchanges: tuple[Exchange, ...]
    layout: str = CHAT


def chats(seed: int, start: int, count: int, mix: Mix = BROAD) -> Iterator[Chat]:
    """Chats `start` to `start + count` of the stream of `seed`."""
    return (chat(seed, index, mix) for index in range(start, start + count))


def chat(seed: int, index: int, mix: Mix = BROAD) -> Chat:
    """Chat number `index` of the stream of `seed`."""
    rng = Random(f"{seed}/{index}")
    kind = rng.random()
    if kind < 0.07:
        return _completion(rng, mix)
    turns = 1 if kind < 0.72 else rng.choice((2, 2, 3)) if kind < 0.96 else rng.randint(4, 24)
    system, brief = _system(rng)
    exchanges = tuple(_turns(rng, turns, brief, mix))
    return Chat(system, exchanges, NOTEBOOK if rng.random() < 0.1 else CHAT)


def _turns(rng: Random, count: int, brief: bool, mix: Mix) -> Iterator[Exchange]:
    last: Exchange | None = None
    for _ in range(count):
        made = _follow_up(rng, last) if last and rng.random() < 0.6 else None
        last = made or _first(rng, brief, mix)
        yield _varied(rng, last, brief, mix)


def _first(rng: Random, brief: bool, mix: Mix) -> Exchange:
    makers = tuple(MAKERS.values())
    while True:
        made = rng.choices(makers, mix.weights)[0](rng)
        if not brief or made.brief or made.topic == "no country":
            return made


def _follow_up(rng: Random, last: Exchange) -> Exchange | None:
    """A question that only the turn before makes clear; None where that turn allows none."""
    country = facts.by_name().get(last.subject)
    if country and rng.random() < 0.25:
        if last.topic in (geography.CAPITAL, geography.COUNTRY):
            return geography.about(geography.CONTINENT, country, rng.choice(ASK_CONTINENT))
        return geography.about(geography.CAPITAL, country, rng.choice(ASK_CAPITAL))
    if last.topic in (geography.CAPITAL, geography.COUNTRY, geography.CONTINENT):
        template = rng.choice(FOLLOW_UPS)
        if rng.random() < 0.06:
            name = talk.made_up_name(rng)
            return Exchange(last.topic, fill(template, name), talk.unknown_answer())
        return follow_up(last.topic, rng.choice(facts.countries()), template)
    return None


def follow_up(topic: str, country: facts.Country, template: str) -> Exchange:
    """A question after one on `topic` that names nothing but `country` (or its capital)."""
    return geography.about(topic, country, fill(template, geography.subjects(topic, country)[0]))


def _varied(rng: Random, exchange: Exchange, brief: bool, mix: Mix) -> Exchange:
    question = exchange.question
    if exchange.topic != "smalltalk":
        question = variation.politely(rng, question)
    if mix.garbled and exchange.topic != "smalltalk" and rng.random() < mix.garbled:
        question = variation.garbled(rng, question)
    question = variation.carelessly(rng, question)
    answer = exchange.brief if brief and exchange.brief else exchange.answer
    return Exchange(exchange.topic, question, answer)


def _system(rng: Random) -> tuple[str | None, bool]:
    """A system prompt or None, and whether it asks for brief answers."""
    if rng.random() < 0.65:
        return None, False
    table, kind = facts.table("systems"), rng.random()
    if kind < 0.2:
        return rng.choice(table["brief"]), True
    if kind < 0.7:
        return rng.choice(table["plain"]), False
    return " ".join(rng.sample(table["plain"], rng.randint(2, 4))), False


def _completion(rng: Random, mix: Mix) -> Chat:
    """Text without any chat marks: the start of a sentence, or a bare question."""
    country = rng.choice(facts.countries())
    if rng.random() < 0.4:
        known = geography.about(geography.CAPITAL, country, "")
        start = f"The capital of {country.name} is"
        return Chat(None, (Exchange("completion", start, known.answer[len(start) :]),), RAW)
    made = _varied(rng, _first(rng, False, mix), False, mix)
    return Chat(None, (Exchange(made.topic, made.question, "\n" + made.answer),), RAW)
