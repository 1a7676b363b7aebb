"""What is asked of the three sides, and the figures that come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

SIDES = ("slim", "pipeline", "mlflow")
SLIM, PIPELINE, MLFLOW = SIDES
FLAVORS = (SLIM, PIPELINE)


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths in tokens.

    MLflow's server does not stream, so no side does: decode is the difference of an answer of
    `new_tokens` and one of `base_tokens`, prefill the time of an answer of one token.
    """

    rounds: int = 5
    clients: int = 8
    prompt_tokens: int = 512
    short_prompt_tokens: int = 32
    base_tokens: int = 8
    new_tokens: int = 128
    starts: int = 3

    @property
    def context_tokens(self) -> int:
        """What the longest request takes, with room for the template of the chat."""
        template = 32
        longest = max(self.prompt_tokens + 1, self.short_prompt_tokens + self.new_tokens)
        return longest + template


@dataclass(slots=True)
class Samples:
    """One side's figures, an entry a round (a start for `start_s`). Rates in tokens a second."""

    start_s: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    decode_one: list[float] = field(default_factory=list)
    decode_all: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    largest_bytes: int = 0
    image_bytes: int = 0


def turns(number: int) -> tuple[str, ...]:
    """The sides in the order of round `number`, from 0: each begins in turn."""
    first = number % len(SIDES)
    return SIDES[first:] + SIDES[:first]


def rate(tokens: int, longer_s: float, shorter_s: float) -> float:
    """Tokens a second of what the longer one did beyond the shorter.

    Raises `ValueError` where the shorter took as long: there is nothing to tell then.
    """
    spent_s = longer_s - shorter_s
    if spent_s <= 0:
        raise ValueError(f"{tokens} tokens more took {spent_s:.4f} s, expected more than none")
    return tokens / spent_s


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: a load that lasts a round cancels out."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))
