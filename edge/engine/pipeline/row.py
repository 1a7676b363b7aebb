"""One sequence: its memory, how far it is, and its sampler."""

from __future__ import annotations

from typing import Any

from edge.engine.base import Choice, Ids, Step
from edge.engine.sampling import Logits, Sampler, score
from edge.errors import EngineFailed


class PipelineRow:
    """A sequence of the pipeline engine."""

    def __init__(
        self, memory: Any, prompt: Ids, sampler: Sampler, kv_bytes: int, echo: int
    ) -> None:
        """`echo` is -1, or how many alternatives to report for each token of the prompt."""
        self.memory = memory
        self.prompt = prompt
        self.sampler = sampler
        self.echo = echo
        self.length = 0  # tokens that the memory holds
        self.token = 0  # chosen last, and not in the memory yet
        self._kv_bytes = kv_bytes
        self._last: Logits | None = None  # of the token before the next chunk, for `echo`

    @property
    def kv_bytes(self) -> int:
        """KV memory reserved for this row, in bytes."""
        return self._kv_bytes

    @property
    def is_prefilling(self) -> bool:
        """Whether the model has yet to see a part of the prompt."""
        return self.length < len(self.prompt)

    def take(self, tokens: int, logits: Logits) -> Step:
        """Note that `tokens` went through with `logits` (kept, vocab), and choose what follows.

        An error ends this row alone.
        """
        was_prefilling = self.is_prefilling
        scores = self._scored(tokens, logits) if was_prefilling and self.echo >= 0 else ()
        self.length += tokens
        prefilled = tokens if was_prefilling else 0
        if self.is_prefilling:
            return Step(prefilled=prefilled, prompt_choices=scores)
        try:
            choice = self.sampler.choose(logits[-1])
        except EngineFailed as error:
            return Step(prefilled=prefilled, error=error)
        self.token = choice.token
        return Step(prefilled=prefilled, choice=choice, prompt_choices=scores)

    def _scored(self, tokens: int, logits: Logits) -> tuple[Choice, ...]:
        """The chunk's own tokens, each by the logits before it; the very first has none."""
        chunk = self.prompt[self.length : self.length + tokens].tolist()
        before = [self._last, *logits[:-1]]
        self._last = logits[-1].copy()
        return tuple(
            Choice(token) if known is None else score(known, token, self.echo)
            for token, known in zip(chunk, before, strict=True)
        )
