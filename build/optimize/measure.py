"""Speed, in pairs: two models take turns on the same prompts, so that a load on the machine
that lasts longer than a round falls on both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import median

from build.optimize.subjects import Subject


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds` times a prompt of `prompt_tokens`, then `new_tokens` more, one stream."""

    rounds: int = 5
    prompt_tokens: int = 512
    new_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds of one round of one model: until the first token, and for those after it."""

    prefill_s: float
    decode_s: float

    @property
    def request_s(self) -> float:
        """Seconds of the whole request."""
        return self.prefill_s + self.decode_s


@dataclass(frozen=True, slots=True)
class Pairs:
    """Laps of two models; entry `i` of both was run in round `i`, one right after the other."""

    first: tuple[Lap, ...]
    second: tuple[Lap, ...]

    def ratio(self, of: Callable[[Lap], float]) -> float:
        """How many times as fast the second one is by the seconds `of` a lap: a median."""
        return median(of(a) / of(b) for a, b in zip(self.first, self.second, strict=True))


def pairs(first: Subject, second: Subject, plan: Plan) -> Pairs:
    """Run both by turns; who begins changes with every round."""
    laps: tuple[list[Lap], list[Lap]] = ([], [])
    for subject in (first, second):  # memory is touched, and chunks of a prompt find their length
        _lap(subject, _prompt(subject, plan.prompt_tokens, seed=0), plan.new_tokens)
    for turn in range(plan.rounds):
        prompt = _prompt(first, plan.prompt_tokens, seed=turn + 1)
        order = ((0, first), (1, second)) if turn % 2 == 0 else ((1, second), (0, first))
        for side, subject in order:
            laps[side].append(_lap(subject, prompt, plan.new_tokens))
    return Pairs(tuple(laps[0]), tuple(laps[1]))


def fitted(plan: Plan, context_length: int) -> Plan:
    """The plan with a shorter prompt and answer where the context is too short for it."""
    prompt = min(plan.prompt_tokens, max(1, context_length // 2))
    new = min(plan.new_tokens, max(1, context_length - prompt - 1))
    return Plan(plan.rounds, prompt, new)


def _lap(subject: Subject, prompt: list[int], new_tokens: int) -> Lap:
    return Lap(*subject.speed(prompt, new_tokens))


def _prompt(subject: Subject, tokens: int, seed: int) -> list[int]:
    """Token ids by chance, others for each seed: no engine has seen how one begins."""
    draw = Random(seed)  # noqa: S311  seeded data is no cryptography
    return [draw.randrange(subject.vocab_size) for _ in range(tokens)]
