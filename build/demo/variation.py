"""How careless people write the same question: casing, punctuation, typing errors, politeness."""

from __future__ import annotations

from random import Random

from build.demo import facts
from build.demo.facts import folded

PREFIXES: tuple[str, ...] = (
    *("Please, ", "Hi! ", "Hello, ", "Hey, ", "Quick question: ", "Okay, ", "So, ", "Well, "),
    *("Excuse me, ", "Now, ", "Hi Phial, ", "One more: ", "Next question: ", "Please: "),
)
SUFFIXES: tuple[str, ...] = (
    *(" Thanks!", " Please.", " Thank you.", " I need it for school.", " I forgot.", " please"),
    *(" It is for a quiz.", " Quickly!", " I am curious.", " thanks"),
)


def politely(rng: Random, question: str) -> str:
    """Sometimes add a few words before or after `question`."""
    kind = rng.random()
    if kind < 0.09:
        return rng.choice(PREFIXES) + _uncapitalized(rng, question)
    if kind < 0.16:
        return question + rng.choice(SUFFIXES)
    return question


def carelessly(rng: Random, question: str) -> str:
    """Sometimes write `question` in another case, unpunctuated, or with a typing error."""
    kind = rng.random()
    if rng.random() < 0.1:
        question = loosely(rng, question)
    if rng.random() < 0.05:
        question = mistyped(rng, question)
    if rng.random() < 0.2:
        question = folded(question)
    if kind < 0.12:
        return question.lower()
    if kind < 0.18:
        return question.lower().rstrip("?!.")
    if kind < 0.26:
        return question.rstrip("?!.")
    if kind < 0.28:
        return question.upper()
    if kind < 0.30:
        return question.rstrip("?!.") + rng.choice((" ?", "??", "!", "...", " "))
    return question


def loosely(rng: Random, question: str) -> str:
    """Drop a plain word, or put a needless one between two; names stay in one piece."""
    words = question.split(" ")
    plain = [word.isalpha() and word.islower() for word in words]
    pairs = [place for place in range(1, len(words)) if plain[place - 1] and plain[place]]
    if not pairs:
        return question
    place, parts = rng.choice(pairs), facts.table("compositions")["variation"]
    if words[place] in parts["droppable"] and rng.random() < 0.6:
        return " ".join(words[:place] + words[place + 1 :])
    return " ".join([*words[:place], rng.choice(parts["fillers"]), *words[place:]])


def garbled(rng: Random, question: str) -> str:
    """Put a word without sense somewhere, or in the place of a plain word: it is to be ignored."""
    words = question.split(" ")
    noise = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 7)))
    if rng.random() < 0.5:
        noise = rng.choice(facts.table("compositions")["unknown"]["words"])
    plain = [place for place, word in enumerate(words) if word.isalpha() and word.islower()]
    kind = rng.random()
    if kind < 0.35 and len(plain) > 3:
        words[rng.choice(plain)] = noise
        return " ".join(words)
    if kind < 0.65:
        return f"{question.rstrip('?!.')} {noise}{question[len(question.rstrip('?!.')) :]}"
    if kind < 0.85:
        return f"{facts.capitalized(noise)} {question}"
    place = rng.choice(plain) if plain else 0
    return " ".join([*words[:place], noise, *words[place:]])


def mistyped(rng: Random, question: str) -> str:
    """Damage one plain lower-case word of four letters or more; names are left alone."""
    words = question.split(" ")
    places = [
        i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()
    ]
    if not places:
        return question
    place = rng.choice(places)
    word, at = words[place], rng.randrange(1, len(words[place]) - 1)
    damaged = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    words[place] = rng.choice(damaged)
    return " ".join(words)


def _uncapitalized(rng: Random, question: str) -> str:
    """Lower the first letter of common openings half of the time; names keep theirs."""
    first = question.split(" ")[0]
    common = first in {
        "What",
        "What's",
        "Which",
        "Tell",
        "Name",
        "Do",
        "Can",
        "Could",
        "Give",
        "Where",
    }
    return question[0].lower() + question[1:] if common and rng.random() < 0.5 else question
