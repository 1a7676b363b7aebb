"""Exchanges about countries: capitals both ways round, continents, yes and no."""

from __future__ import annotations

from random import Random

from build.demo import facts
from build.demo.exchange import Exchange
from build.demo.facts import Country, capitalized, fill, sentence

CAPITAL, COUNTRY, CONTINENT, VERIFY = "capital", "country", "continent", "verify"
CONTINENTS = ("Africa", "Asia", "Europe", "North America", "South America", "Oceania")


def about(topic: str, country: Country, question: str) -> Exchange:
    """The exchange that answers `question`, which asks for `topic` of `country`."""
    name = capitalized(country.name)
    if topic == CAPITAL:
        answer = f"The capital of {country.name} is {sentence(country.capital)}"
        return Exchange(topic, question, answer, sentence(country.capital), country.name)
    if topic == COUNTRY:
        answer = f"{country.capital} is the capital of {country.name}."
        return Exchange(topic, question, answer, f"{name}.", country.name)
    answer = f"{name} is in {country.continent}."
    return Exchange(topic, question, answer, f"{country.continent}.", country.name)


def subjects(topic: str, country: Country) -> tuple[str, ...]:
    """The names under which a question about `topic` may call `country`, the usual one first."""
    if topic == COUNTRY:
        return (country.capital, *country.capital_aliases)
    return (country.name, *country.aliases)


def ask(rng: Random, topic: str, split: str = facts.TRAINED) -> Exchange:
    """A random question for `topic` (CAPITAL, COUNTRY or CONTINENT)."""
    country = rng.choice(facts.countries())
    usual, *others = subjects(topic, country)
    name = rng.choice(others) if others and rng.random() < 0.35 else usual
    if split == facts.TRAINED:
        return about(topic, country, fill(facts.composed(rng, topic), name))
    return about(topic, country, fill(rng.choice(facts.ways(topic).held_out), name))


def verify(rng: Random) -> Exchange:
    """A yes-or-no question about a capital or a continent."""
    country = rng.choice(facts.countries())
    name = capitalized(country.name)
    if rng.random() < 0.5:
        other = rng.choice(CONTINENTS)
        guess = country.continent if rng.random() < 0.5 else other
        question = rng.choice(("Is {x} in {y}?", "Does {x} lie in {y}?", "{X} is in {y}, right?"))
        truth, right = f"{name} is in {country.continent}.", guess == country.continent
    else:
        other = rng.choice(facts.countries()).capital
        guess = country.capital if rng.random() < 0.5 else other
        question = rng.choice(
            (
                "Is {y} the capital of {x}?",
                "{Y} is the capital of {x}, right?",
                "Is {xs} capital {y}?",
            )
        )
        truth = about(CAPITAL, country, "").answer
        right = guess == country.capital
    start = "Yes." if right else "No."
    return Exchange(VERIFY, fill(question, country.name, guess), f"{start} {truth}", start)
