"""What is asked of both sides, and the rounds that ask it of one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import numpy as np

from tests.bench.bare import Task, Timing
from tests.bench.client import BadAnswer, Stream
from tests.bench.pairs import quantile, rate_together
from tests.bench.sides import Bare, Served
from tests.bench.subject import Subject

SUPPRESSED = -100
SETTLE_S = 0.1  # the runtime's idle threads spin for some 15 ms more, in the way of the other side
WORST_SHARE = 0.99
SEED = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. In each round, `requests` of one token are asked one by one."""

    rounds: int = 7
    clients: tuple[int, ...] = (1, 4, 8)
    short_prompt_tokens: int = 32
    long_prompt_tokens: int = 512
    new_tokens: int = 128
    requests: int = 10


Prompts = list[list[int]]


@dataclass(frozen=True, slots=True)
class Both:
    """Samples of one quantity, a round an entry."""

    bare: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Load:
    """Samples at one number of clients.

    `decode` and `prefill` are tokens a second of all clients together, of the short and of the
    long prompt; `first_s` and `long_first_s` are their times to the first token, the median client
    of each round. `gap_s` is the time between two tokens of a stream that one in a hundred
    exceeds; a bare batch has none.
    """

    decode: Both = field(default_factory=Both)
    prefill: Both = field(default_factory=Both)
    first_s: Both = field(default_factory=Both)
    long_first_s: Both = field(default_factory=Both)
    gap_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of a run. `request_s`: a request for one token, start to end.

    `tokens_per_event` is 1 where every token came in an event of its own.
    """

    loads: dict[int, Load]
    request_s: Both = field(default_factory=Both)
    tokens_per_event: list[float] = field(default_factory=list)


class Bench:
    """Runs the rounds of a plan on two running sides."""

    def __init__(self, plan: Plan, bare: Bare, served: Served, subject: Subject) -> None:
        self._plan, self._bare, self._served, self._subject = plan, bare, served, subject
        self._random = np.random.default_rng(SEED)
        self._samples = Samples({clients: Load() for clients in plan.clients})
        self._is_bare_first = True
        self.is_endless = False

    def run(self, on_round: Callable[[int], None]) -> Samples:
        """Warm up and measure; `on_round` gets the number of each finished round, from 1 on.

        Where the model ends an answer early, `is_endless` is set: both sides then suppress the
        tokens that end one, by a logit bias and by a least length.
        """
        self.is_endless = not self._reaches_the_limit()
        self._decode(max(self._plan.clients), Load())
        for number in range(self._plan.rounds):
            self._is_bare_first = number % 2 == 0
            self._requests()
            for clients, load in self._samples.loads.items():
                self._decode(clients, load)
                self._prefill(clients, load)
            on_round(number + 1)
        return self._samples

    def _reaches_the_limit(self) -> bool:
        prompts = self._prompts(max(self._plan.clients), self._plan.short_prompt_tokens)
        found = self._stream(prompts, self._plan.new_tokens)
        return all(stream.finish == "length" for stream in found)

    def _requests(self) -> None:
        prompts = self._prompts(self._plan.requests, self._plan.short_prompt_tokens)
        address = self._served.address

        def bare() -> None:
            spent = [self._bare.run(self._task([prompt], 1))["total_s"] for prompt in prompts]
            self._samples.request_s.bare.append(median(spent))

        def served() -> None:
            spent = address.unary([self._body(prompt, 1) for prompt in prompts])
            self._samples.request_s.served.append(median(spent))

        self._in_turn(bare, served)

    def _decode(self, clients: int, load: Load) -> None:
        plan = self._plan
        prompts = self._prompts(clients, plan.short_prompt_tokens)

        def bare() -> None:
            timing = self._bare.run(self._task(prompts, plan.new_tokens))
            load.decode.bare.append(batch_rate(timing, clients, plan.new_tokens))
            load.first_s.bare.append(timing["first_s"])

        def served() -> None:
            streams = self._stream(prompts, plan.new_tokens)
            per_event = mean(stream.tokens_per_event for stream in streams)
            moments = [stream.moments for stream in streams]
            load.decode.served.append(rate_together(moments) * per_event)
            load.first_s.served.append(median(stream.first_s for stream in streams))
            load.gap_s.append(quantile([g for s in streams for g in s.gaps_s], WORST_SHARE))
            self._samples.tokens_per_event.append(per_event)

        self._in_turn(bare, served)

    def _prefill(self, clients: int, load: Load) -> None:
        prompts = self._prompts(clients, self._plan.long_prompt_tokens)
        tokens = clients * self._plan.long_prompt_tokens

        def bare() -> None:
            timing = self._bare.run(self._task(prompts, 1))
            load.prefill.bare.append(tokens / timing["first_s"])
            load.long_first_s.bare.append(timing["first_s"])

        def served() -> None:
            firsts = [stream.first_s for stream in self._stream(prompts, 1)]
            load.prefill.served.append(tokens / max(firsts))
            load.long_first_s.served.append(median(firsts))

        self._in_turn(bare, served)

    def _in_turn(self, bare: Callable[[], None], served: Callable[[], None]) -> None:
        for measure in (bare, served) if self._is_bare_first else (served, bare):
            time.sleep(SETTLE_S)
            measure()

    def _stream(self, prompts: Prompts, new_tokens: int) -> list[Stream]:
        streams = self._served.address.streams([self._body(p, new_tokens) for p in prompts])
        short = [stream.tokens for stream in streams if stream.tokens != new_tokens]
        if short and self.is_endless:
            raise BadAnswer(f"answers of {short} tokens, expected {new_tokens}")
        return streams

    def _prompts(self, count: int, tokens: int) -> Prompts:
        """Random ids, other ones each time: no cache of prefixes may help."""
        drawn = self._random.choice(self._subject.ordinary_ids, (count, tokens))
        prompts: Prompts = drawn.tolist()
        return prompts

    def _task(self, prompts: Prompts, new_tokens: int) -> Task:
        return {"prompts": prompts, "new_tokens": new_tokens, "is_endless": self.is_endless}

    def _body(self, prompt: list[int], new_tokens: int) -> Mapping[str, Any]:
        body = {"model": self._subject.name, "prompt": prompt, "max_tokens": new_tokens}
        if self.is_endless:
            body["logit_bias"] = {str(token): SUPPRESSED for token in self._subject.eos_ids}
        return {**body, "temperature": 0}


def batch_rate(timing: Timing, rows: int, new_tokens: int) -> float:
    """Tokens a second of a batch after its first ones."""
    return rows * (new_tokens - 1) / (timing["total_s"] - timing["first_s"])
