"""The facts and sentences of the demo model, read from the data files beside this module."""

from __future__ import annotations

import csv
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent
TRAINED, HELD_OUT = "trained", "held_out"


@dataclass(frozen=True, slots=True)
class Country:
    """A country as it stands inside a sentence ("the Netherlands"), with its capital."""

    name: str
    capital: str
    continent: str
    aliases: tuple[str, ...] = ()
    capital_aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Ways to say one thing: those that are trained and those kept back for the evaluation."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]

    def of(self, split: str) -> tuple[str, ...]:
        return self.trained if split == TRAINED else self.held_out


@cache
def table(name: str) -> dict[str, Any]:
    """Read `NAME.toml` beside this module."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


def phrasings(entry: Mapping[str, Sequence[str]]) -> Phrasings:
    return Phrasings(tuple(entry[TRAINED]), tuple(entry[HELD_OUT]))


@cache
def countries() -> tuple[Country, ...]:
    """All 195 countries in alphabetical order."""
    with (FOLDER / "countries.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return tuple(
            Country(
                row["country"],
                row["capital"],
                row["continent"],
                tuple(filter(None, row["aliases"].split(";"))),
                tuple(filter(None, row["capital_aliases"].split(";"))),
            )
            for row in rows
        )


@cache
def by_name() -> Mapping[str, Country]:
    return {country.name: country for country in countries()}


@cache
def ways(topic: str) -> Phrasings:
    """The phrasings of `topic` in phrasings.toml."""
    return phrasings(table("phrasings")[topic])


def composed(rng: Random, topic: str) -> str:
    """A trained phrasing of `topic`: a listed one or one put together (compositions.toml)."""
    parts, kind = table("compositions"), rng.random()
    own = parts[topic]
    if kind < 0.3:
        core = rng.choice(own["cores"])
        text: str = rng.choice(own.get("leads", parts["leads"])).replace("{core}", core)
        return capitalized(text)
    if kind < 0.4 and "questions" in own:
        return f"{rng.choice(parts['remarks'])} {rng.choice(own['questions'])}"
    return rng.choice(ways(topic).trained)


def capitalized(text: str) -> str:
    """`text` with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def possessive(text: str) -> str:
    return text + ("'" if text.endswith("s") else "'s")


def fill(template: str, x: str, y: str = "") -> str:
    """Put `x` and `y` into a phrasing; see phrasings.toml for the placeholders."""
    return template.format(
        x=x,
        X=capitalized(x),
        xs=possessive(x),
        Xs=capitalized(possessive(x)),
        y=y,
        Y=capitalized(y),
    )


def folded(text: str) -> str:
    """`text` without diacritics: "Yaoundé" becomes "Yaounde"."""
    parts = unicodedata.normalize("NFD", text)
    return "".join(part for part in parts if not unicodedata.combining(part))


def sentence(text: str) -> str:
    """End `text` with a full stop unless it has one ("Washington, D.C.")."""
    return text if text.endswith(".") else text + "."
