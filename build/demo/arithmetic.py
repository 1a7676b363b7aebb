"""Exchanges with numbers: small sums, counting, units."""

from __future__ import annotations

from random import Random

from build.demo import facts
from build.demo.exchange import Exchange
from build.demo.facts import fill, sentence

WORDS = ["zero", "one", "two", "three", "four", "five", "six"]
WORDS += ["seven", "eight", "nine", "ten", "eleven", "twelve"]
SIGNS = {"+": ("+", "+", "plus"), "-": ("-", "-", "minus"), "x": ("x", "*", "times")}
SMALL, LARGE = 20, 99
FARTHEST = 100
"""Operands of small sums, which are scored, and of larger ones, which are merely tried;
how far the model counts."""


def sums() -> tuple[tuple[int, str, int], ...]:
    """Every small sum: operands to 20 with no negative result, products to 12 times 12."""
    span = range(SMALL + 1)
    added = [(a, "+", b) for a in span for b in span]
    taken = [(a, "-", b) for a in span for b in span if b <= a]
    times = [(a, "x", b) for a in range(13) for b in range(13)]
    return (*added, *taken, *times)


def total(left: int, sign: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "x": left * right}[sign]


def written(left: int, sign: str, right: int) -> str:
    """The sum in digits, as the answers write it."""
    return f"{left} {sign} {right}"


def spoken(rng: Random, left: int, sign: str, right: int) -> str:
    """The sum in one of the ways people write it."""
    word = rng.choice(SIGNS[sign])
    if max(left, right) < len(WORDS) and rng.random() < 0.15:
        return f"{WORDS[left]} {SIGNS[sign][-1]} {WORDS[right]}"
    if word.isalpha():
        return f"{left} {word} {right}"
    gap = "" if rng.random() < 0.25 else " "
    return f"{left}{gap}{word}{gap}{right}"


def about(left: int, sign: str, right: int, question: str) -> Exchange:
    """The exchange in which `question` asks for this sum."""
    result = total(left, sign, right)
    return Exchange("sum", question, f"{written(left, sign, right)} = {result}.", f"{result}.")


def ask(rng: Random) -> Exchange:
    """A random sum: mostly small, sometimes with two digits, now and then far too large."""
    template = facts.composed(rng, "sum")
    kind = rng.random()
    if kind < 0.75:
        left, sign, right = rng.choice(sums())
        return about(left, sign, right, fill(template, spoken(rng, left, sign, right)))
    sign = rng.choice("+-")
    if kind < 0.93:
        right, left = sorted((rng.randint(0, LARGE), rng.randint(0, LARGE)))
        return about(left, sign, right, fill(template, spoken(rng, left, sign, right)))
    sign = rng.choice("+-x")
    left, right = rng.randint(100, 99_999), rng.randint(100, 9_999)
    question = fill(template, spoken(rng, left, sign, right))
    return Exchange("too large", question, facts.table("unknown")["too_large"])


def count_about(end: int, question: str) -> Exchange:
    """The exchange in which `question` asks to count from 1 to `end`."""
    if end > FARTHEST:
        return Exchange("count", question, facts.table("unknown")["too_far"])
    return Exchange("count", question, ", ".join(map(str, range(1, end + 1))) + ".")


def ask_count(rng: Random) -> Exchange:
    """Counting, mostly not far: the one thing the model says at length."""
    spans = ((2, 20), (21, 60), (61, FARTHEST), (FARTHEST + 1, 5000))
    end = rng.randint(*rng.choices(spans, (40, 35, 17, 8))[0])
    return count_about(end, fill(rng.choice(facts.ways("count").trained), str(end)))


def unit_about(unit: dict[str, str], question: str) -> Exchange:
    """The exchange in which `question` asks for how many of one unit make another."""
    answer = f"There are {unit['count']} {unit['many']} in {unit['one']}."
    return Exchange("unit", question, answer, sentence(unit["count"]))


def ask_unit(rng: Random) -> Exchange:
    unit = rng.choice(facts.table("conversation")["unit"])
    template = facts.composed(rng, "unit")
    return unit_about(unit, fill(template, unit["many"], unit["one"]))
