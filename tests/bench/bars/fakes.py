"""Sides and a stage that need no process: their speeds are what a test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from tests.bench.bars.plan import Plan
from tests.bench.client import Stream
from tests.bench.subject import Subject

ON, OFF = "llama.cpp, flash attention on", "llama.cpp, flash attention off"
SUBJECT = Subject(Path("bundle"), "toy", "a toy", 1000, 100, 4096, (7, 9))


@dataclass
class FakeSide:
    """`rates` come by turns for one stream, `together` for several; `calls` are all requests.

    The first token of a prompt takes `token_s` a token, of those that were not seen before.
    """

    name: str
    rates: tuple[float, ...] = (100.0,)
    together: float = 200.0
    token_s: float = 0.001
    gaps: tuple[float, ...] = (0.01, 0.01, 0.05)
    caches: bool = False
    calls: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self):
        self._rates = cycle(self.rates)
        self._seen: list[list[int]] = []

    def decode(self, prompts, new_tokens):
        self.calls.append((len(prompts), len(prompts[0]), new_tokens))
        return next(self._rates) if len(prompts) == 1 else self.together

    def first_s(self, prompt):
        return self.stream(prompt, 1).first_s

    def stream(self, prompt, new_tokens):
        self.calls.append((1, len(prompt), new_tokens))
        known = max((shared(prompt, other) for other in self._seen), default=0)
        self._seen.append(prompt)
        known *= self.caches
        moments = [(len(prompt) - known) * self.token_s]
        for gap in self.gaps if new_tokens > 1 else ():
            moments.append(moments[-1] + gap)
        return Stream(tuple(moments), new_tokens, "length", known)


def shared(left, right):
    """How many ids both start with."""
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


class FakeStage:
    """A stage whose sides are given."""

    def __init__(self, phial=None, peers=(), loop=None, stock=None, **plan):
        self.plan = Plan(**{"rounds": 3, **plan})
        self.phial = phial or FakeSide("Phial")
        self.peers = {peer.name: peer for peer in peers}
        self.loop = loop or FakeSide("OGA's loop")
        self.stock_loop = stock
        self.subject = SUBJECT
        self._next = 0

    def prompts(self, count, tokens):
        """Ids that no other prompt has."""
        self._next += count
        return [[self._next - i] * tokens for i in range(count)]


def row(outcome, *parts):
    """The one row whose measure holds all `parts`."""
    (found,) = [one for one in outcome.rows if all(part in one.measure for part in parts)]
    return found
