"""What is measured: a server over HTTP, or the generator loop of onnxruntime-genai."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Protocol

from tests.bench.bare import Timing
from tests.bench.client import BadAnswer, Stream
from tests.bench.pairs import rate_together
from tests.bench.sides import Bare, Served
from tests.bench.workload import batch_rate

Prompt = list[int]


class Side(Protocol):
    """A side of a comparison."""

    @property
    def name(self) -> str:
        """As it stands in tables."""

    def decode(self, prompts: list[Prompt], new_tokens: int) -> float:
        """Tokens a second of all answers together, after their first ones."""

    def first_s(self, prompt: Prompt) -> float:
        """Seconds to the first token of the answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that streams completions of token ids; `body` goes with every request."""

    name: str
    served: Served
    body: Mapping[str, Any] = field(default_factory=dict)

    def decode(self, prompts: list[Prompt], new_tokens: int) -> float:
        """Counted while all streams run, as the client sees them arrive."""
        streams = self.streams(prompts, new_tokens)
        per_event = mean(stream.tokens_per_event for stream in streams)
        return rate_together([stream.moments for stream in streams]) * per_event

    def first_s(self, prompt: Prompt) -> float:
        """From the request's last byte to the first event."""
        return self.stream(prompt, 1).first_s

    def stream(self, prompt: Prompt, new_tokens: int) -> Stream:
        """One answer of exactly `new_tokens`. Raises `BadAnswer` for a shorter one."""
        return self.streams([prompt], new_tokens)[0]

    def streams(self, prompts: list[Prompt], new_tokens: int) -> list[Stream]:
        """All answers, asked for at once. Raises `BadAnswer` where one is shorter."""
        bodies = [{**self.body, "prompt": p, "max_tokens": new_tokens} for p in prompts]
        found = self.served.address.streams(bodies)
        short = [stream.tokens for stream in found if stream.tokens != new_tokens]
        if short:
            raise BadAnswer(f"{self.name}: answers of {short} tokens, expected {new_tokens}")
        return found


@dataclass(frozen=True, slots=True)
class Loop:
    """The generator loop in a process of its own."""

    name: str
    bare: Bare
    is_endless: bool = False

    def decode(self, prompts: list[Prompt], new_tokens: int) -> float:
        """As one static batch."""
        return batch_rate(self._run(prompts, new_tokens), len(prompts), new_tokens)

    def first_s(self, prompt: Prompt) -> float:
        """The making of the generator included."""
        return self._run([prompt], 1)["first_s"]

    def _run(self, prompts: list[Prompt], new_tokens: int) -> Timing:
        return self.bare.run(
            {"prompts": prompts, "new_tokens": new_tokens, "is_endless": self.is_endless}
        )
