"""One sequence of the decoder engine."""

from __future__ import annotations

from collections import deque

import numpy as np

from edge.engine.base import Choice, Ids, Step
from edge.engine.decoder.drafts import Drafter
from edge.engine.decoder.runs import Logits
from edge.engine.sampling import Sampler
from edge.errors import EngineFailed


class DecoderRow:
    """A sequence: where its KV cache lies, what the model has seen of it, and its sampler.

    `length` tokens of it are in the KV cache.
    """

    def __init__(
        self,
        prompt: Ids,
        max_tokens: int,
        sampler: Sampler,
        kv_bytes: int,
        echo: int,
        adapter: str = "",
    ) -> None:
        """`echo` is -1, or how many alternatives to report for each token of the prompt."""
        self.prompt = prompt
        self.adapter = adapter
        self.slot = -1  # where `Placement` has put it
        self.sampler = sampler
        self.echo = echo
        self.length = 0
        self.token = 0
        self.logits: Logits | None = None  # after the last token, while a prompt is scored
        self.drafter: Drafter | None = None
        self.ahead: deque[Step] = deque()  # of tokens that were sampled and are still to be told
        self._ids = np.empty(len(prompt) + max_tokens + 1, dtype=np.int32)
        self._ids[: len(prompt)] = prompt
        self._said = 0
        self._kv_bytes = kv_bytes

    @property
    def kv_bytes(self) -> int:
        """KV memory reserved for this row, in bytes."""
        return self._kv_bytes

    @property
    def is_prefilling(self) -> bool:
        """Whether the model has yet to see a part of the prompt."""
        return self.length < len(self.prompt)

    @property
    def seen(self) -> Ids:
        """The tokens in the KV cache, int32, shape (length,)."""
        return self._ids[: self.length]

    @property
    def known(self) -> Ids:
        """The prompt and what was said, int32, shape (tokens,)."""
        return self._ids[: len(self.prompt) + self._said]

    @property
    def room(self) -> int:
        """Tokens that may still be said."""
        return len(self._ids) - 1 - len(self.prompt) - self._said

    def choose(self, logits: Logits, prefilled: int = 0, scores: tuple[Choice, ...] = ()) -> Step:
        """Sample the next token from `logits` (vocab,); an error ends this row alone."""
        try:
            choice = self.sampler.choose(logits)
        except EngineFailed as error:
            return Step(prefilled=prefilled, error=error)
        self.token = choice.token
        place = len(self.prompt) + self._said
        if place < len(self._ids):
            self._ids[place] = choice.token
            self._said += 1
        return Step(prefilled=prefilled, choice=choice, prompt_choices=scores)
