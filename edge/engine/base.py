"""The Engine protocol: what the scheduler asks of a runtime. Token ids in, token ids out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import EngineFailed
from edge.generation import Sampling

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loaded model can do. `kv_bytes_per_token` 0 means unknown."""

    context_length: int
    eos_ids: frozenset[int]
    vocab_size: int
    kv_bytes_per_token: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One sampled token. `logprob` and `top` (id, logprob) only where they were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What one call of `advance` did for one row.

    `prefilled` prompt tokens went through the model, and `cached` ones needed not to; `choice`
    is the next token, None while the prompt is not through. `error` ends this row alone.
    `prompt_choices` are the log-probabilities of the prompt's own tokens, only for rows opened
    with `echo_logprobs`.
    """

    prefilled: int = 0
    cached: int = 0
    choice: Choice | None = None
    prompt_choices: tuple[Choice, ...] = ()
    error: EngineFailed | None = None


class Constraint(Protocol):
    """The grammar state of one guided row."""

    def allowed(self, vocab_size: int) -> npt.NDArray[np.bool_]:
        """True for each token that may come next, shape (vocab_size,). Raises `EngineFailed`."""

    def forced(self) -> list[int]:
        """Tokens that spell what must come next; none where there is a choice."""

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""


class Row(Protocol):
    """One sequence inside the engine; opaque to the scheduler."""

    @property
    def kv_bytes(self) -> int:
        """KV memory reserved for this row, in bytes."""


class Engine(Protocol):
    """A loaded model. Every method but `interrupt` is called from the thread that owns it."""

    @property
    def limits(self) -> Limits:
        """What the loaded model can do."""

    def open(
        self,
        prompt: Ids,
        max_tokens: int,
        sampling: Sampling,
        *,
        constraint: Constraint | None = None,
        echo_logprobs: bool = False,
        adapter: str = "",
    ) -> Row:
        """Reserve a row for `prompt` (int32, shape (tokens,)) and `max_tokens` more.

        `adapter` names one of the bundle's LoRA adapters, "" the base model.

        Raises `RequestError` for sampling that this model cannot honour and `EngineFailed`
        where the runtime refuses. No model call happens here.
        """

    def advance(self, rows: list[Row]) -> list[Step]:
        """Do one bounded piece of work for every row: a prefill chunk or one token.

        Returns a step for each row, in order. Raises `EngineFailed`.
        """

    def interrupt(self, row: Row) -> None:
        """End the prefill of `row` that is under way, if any and if the engine can. Any thread.

        The row is as it was before that call; its step says that nothing was done.
        """

    def close(self, row: Row) -> None:
        """Give the row's KV memory back; the engine may keep it cached as far as `keep` allows."""

    def keep(self, most_bytes: int) -> None:
        """Let what is cached of sequences that have ended hold at most `most_bytes` from now on."""

    def preload(self, prompt: Ids) -> None:
        """Run `prompt` (int32, shape (tokens,)) and keep it for requests that begin so.

        An engine without a prefix cache does nothing. Raises `EngineFailed`.
        """

    def shutdown(self) -> None:
        """Release the model."""


def common(left: Ids, right: Ids) -> int:
    """How many tokens two sequences (int32, shape (tokens,)) have in common from their start."""
    size = min(len(left), len(right))
    differs = left[:size] != right[:size]
    place = int(differs.argmax()) if size else 0
    return place if size and differs[place] else size
