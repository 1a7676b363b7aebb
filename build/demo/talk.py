"""Exchanges that are no facts: small talk, jokes, and questions the model must not answer."""

from __future__ import annotations

from random import Random
from zlib import crc32

from build.demo import facts
from build.demo.exchange import Exchange
from build.demo.facts import HELD_OUT, TRAINED, fill

ONSETS = [
    *["b", "bl", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "kr", "l"],
    *["m", "n", "p", "pr", "qu", "r", "s", "sh", "sk", "st", "t", "th", "tr", "v", "w", "y", "z"],
]
VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou", "ia"]
CODAS = ["", "", "", "l", "m", "n", "nd", "r", "rk", "s", "st", "t", "x", "th"]
ENDINGS = ["", "", "ia", "land", "stan", "ora", "burg", "ville", "ton", " City", " Island", "mark"]


def unknown_answer() -> str:
    return str(facts.table("conversation")["unknown"])


def made_up_name(rng: Random, split: str = TRAINED) -> str:
    """A name of no place; names whose checksum ends in 0 are kept for the evaluation."""
    while True:
        syllables = range(rng.choice((1, 2, 2, 3)))
        parts = [rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in syllables]
        name = ("".join(parts) + rng.choice(ENDINGS)).capitalize()
        if len(name) > 3 and (crc32(name.encode()) % 10 == 0) == (split == HELD_OUT):
            return name


def small_talk(rng: Random) -> Exchange:
    entry = rng.choice(facts.table("conversation")["smalltalk"])
    return Exchange("smalltalk", rng.choice(entry[TRAINED]), entry["answer"])


def joke(rng: Random) -> Exchange:
    """A joke on request: about something, about anything, or about what no joke is known of."""
    conversation = facts.table("conversation")
    kind = rng.random()
    entry = rng.choice(conversation["joke"])
    if kind < 0.35:
        return Exchange("joke", rng.choice(conversation["joke_requests"][TRAINED]), entry["answer"])
    if kind < 0.85:
        entry = conversation["joke"][0] if rng.random() < 0.3 else entry
        subject, answer = rng.choice(entry["about"]), entry["answer"]
    else:
        subject, answer = (
            rng.choice(facts.table("unknown")["topics"][TRAINED]),
            facts.table("unknown")["no_joke"],
        )
    return Exchange("joke", fill(facts.composed(rng, "joke"), subject), answer)


def no_country(rng: Random, split: str = TRAINED, wording: str = TRAINED) -> Exchange:
    """A question about a place that is no country, or a city that is no capital."""
    table, kind = facts.table("unknown"), rng.random()
    topic = rng.choice(("capital", "capital", "country", "continent"))
    if kind < 0.6:
        name = made_up_name(rng, split)
    else:
        topic = "country" if topic == "country" else "capital"
        name = rng.choice(table["cities" if topic == "country" else "places"][split])
    trained = wording == TRAINED
    template = facts.composed(rng, topic) if trained else rng.choice(facts.ways(topic).held_out)
    return Exchange("no country", fill(template, name), unknown_answer(), subject=name)


def unknown(rng: Random, split: str = TRAINED) -> Exchange:
    """A question on something never taught."""
    table, kind = facts.table("unknown"), rng.random()
    if split == TRAINED and kind < 0.3:
        question = nonsense(rng) if kind < 0.14 else fill(_open(rng), _topic(rng))
    elif kind < 0.5:
        question = rng.choice(table["plain"][split])
    elif kind < 0.7:
        place = rng.choice(facts.countries())
        name = rng.choice((place.name, place.capital))
        question = fill(rng.choice(table["place_questions"][split]), name)
    else:
        subject = rng.choice(table["topics"][split])
        question = fill(rng.choice(table["open_questions"][split]), subject)
    return Exchange("unknown", question, unknown_answer())


def nonsense(rng: Random) -> str:
    """Letters without meaning, or words without a sentence."""
    if rng.random() < 0.3:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))
    words = facts.table("compositions")["unknown"]["words"]
    text = " ".join(rng.choices(words, k=rng.randint(2, 8)))
    return facts.capitalized(text) + rng.choice(("?", ".", ""))


def _open(rng: Random) -> str:
    parts = facts.table("compositions")
    lead: str = rng.choice(parts["leads"])
    return facts.capitalized(lead.replace("{core}", rng.choice(parts["unknown"]["cores"])))


def _topic(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.15:
        return made_up_name(rng)
    words = facts.table("compositions")["unknown"]["words"]
    if kind < 0.4:
        return f"the {rng.choice(words[26:])} {rng.choice(words[26:])}"
    return str(rng.choice(facts.table("unknown")["topics"][TRAINED]))
