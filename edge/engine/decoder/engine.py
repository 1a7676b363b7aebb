"""Continuous batching behind the Engine protocol: rows join and leave at any step.

Rows that decode lie in the slots from 0 on and go through the model together; rows whose prompt
is still coming in lie behind them and are fed by chunks, one row at a time, so that running
answers never wait for a whole prompt. When a row leaves, the last one of its kind moves into its
place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np

from edge.engine.base import Choice, Constraint, Ids, Limits, Row, Step
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.runs import Logits, Runs
from edge.engine.ort import OrtError, Terminated
from edge.engine.pace import Pace
from edge.engine.sampling import Sampler, check, score
from edge.errors import EngineFailed
from edge.generation import Sampling

_log = logging.getLogger(__name__)


class DecoderRow:
    """A sequence: where its KV cache lies, what the model has seen of it, and its sampler."""

    def __init__(self, prompt: Ids, slot: int, sampler: Sampler, kv_bytes: int, echo: int) -> None:
        """`echo` is -1, or how many alternatives to report for each token of the prompt."""
        self.prompt = prompt
        self.slot = slot
        self.sampler = sampler
        self.echo = echo
        self.length = 0
        self.token = 0
        self.logits: Logits | None = None  # after the last token, while a prompt is scored
        self._kv_bytes = kv_bytes

    @property
    def kv_bytes(self) -> int:
        """KV memory reserved for this row, in bytes."""
        return self._kv_bytes

    @property
    def is_prefilling(self) -> bool:
        """Whether the model has yet to see a part of the prompt."""
        return self.length < len(self.prompt)


class DecoderEngine:
    """A decoder graph over one arena of KV memory; owned by the scheduler's thread."""

    def __init__(self, runs: Runs, arena: Arena, limits: Limits, *, prefill_chunk_ms: int) -> None:
        self._runs = runs
        self._arena = arena
        self._limits = limits
        self._pace = Pace(prefill_chunk_ms / 1000)
        self._rows: list[DecoderRow] = []  # by slot
        self._feeding: Row | None = None
        self._interrupting = threading.Lock()

    @property
    def limits(self) -> Limits:
        """What the loaded model can do."""
        return self._limits

    def open(
        self,
        prompt: Ids,
        max_tokens: int,
        sampling: Sampling,
        *,
        constraint: Constraint | None = None,
        echo_logprobs: bool = False,
    ) -> Row:
        """Take the next slot; its pages are committed as tokens come."""
        check(sampling, self._limits.vocab_size)
        if len(self._rows) == self._arena.slots:
            raise EngineFailed("every slot is taken")
        if len(prompt) + max_tokens > self._arena.shape.context:
            raise EngineFailed("the sequence is longer than a slot")
        row = DecoderRow(
            prompt,
            len(self._rows),
            Sampler(sampling, prompt, constraint),
            (len(prompt) + max_tokens) * self._limits.kv_bytes_per_token,
            (sampling.logprobs or 0) if echo_logprobs else -1,
        )
        self._rows.append(row)
        return row

    def advance(self, rows: list[Row]) -> list[Step]:
        """A token for every row whose prompt is in, then a chunk for the first of the others."""
        steps = {id(row): Step() for row in rows}
        decoding = [row for row in self._rows if not row.is_prefilling]
        waiting = [row for row in cast(list[DecoderRow], rows) if row.is_prefilling]
        if decoding:
            steps |= self._decode(decoding)
        if waiting:
            self._pace.is_patient = not decoding
            # The one that has begun, else the first: no other waiting row has anything to move.
            row = min(waiting, key=lambda row: row.length == 0)
            steps[id(row)] = self._prefill(row)
            if not row.is_prefilling:
                self._fill(len(decoding), row.slot)
        return [steps[id(row)] for row in rows]

    def interrupt(self, row: Row) -> None:
        """End the chunk of `row` that is going through the model, within an operator's time."""
        with self._interrupting:
            if self._feeding is row:
                self._runs.interrupt()

    def close(self, row: Row) -> None:
        """Give the slot back: the last decoding row moves into a gap among them, then the last.

        Closing a row again does nothing.
        """
        own = cast(DecoderRow, row)
        if own not in self._rows:
            return
        gap = own.slot
        if not own.is_prefilling:
            last = max(other.slot for other in self._rows if not other.is_prefilling)
            gap = self._fill(gap, last)
        gap = self._fill(gap, len(self._rows) - 1)
        self._arena.release(gap)
        self._rows.pop()

    def shutdown(self) -> None:
        """Release the model."""
        self._runs.close()

    def _fill(self, gap: int, last: int) -> int:
        """Move the row of slot `last` to `gap`; returns the slot that is free then."""
        if gap == last:
            return gap
        mover, leaver = self._rows[last], self._rows[gap]
        self._arena.move(last, gap, mover.length)
        mover.slot, leaver.slot = gap, last
        self._rows[gap], self._rows[last] = mover, leaver
        return last

    def _decode(self, rows: list[DecoderRow]) -> dict[int, Step]:
        tokens = np.array([row.token for row in rows], dtype=np.int64)
        lengths = np.array([row.length for row in rows], dtype=np.int64)
        try:
            logits = self._runs.decode(tokens, lengths)
        except OrtError as error:
            failed = Step(error=_failure(error))
            return {id(row): failed for row in rows}
        steps = {}
        for row, own in zip(rows, logits, strict=True):
            row.length += 1
            steps[id(row)] = _chosen(row, own)
        return steps

    def _prefill(self, row: DecoderRow) -> Step:
        chunk = row.prompt[row.length : row.length + self._pace.tokens]
        start = time.perf_counter()
        try:
            with self._interruptible(row):
                logits, scores = self._feed(row, chunk)
        except Terminated:
            return Step()  # what the cut run wrote lies beyond the row's length
        except OrtError as error:
            return Step(error=_failure(error))
        self._pace.note(len(chunk), time.perf_counter() - start)
        if row.is_prefilling:
            return Step(prefilled=len(chunk), prompt_choices=scores)
        return _chosen(row, logits, len(chunk), scores)

    @contextmanager
    def _interruptible(self, row: DecoderRow) -> Iterator[None]:
        """Lets `interrupt` end what runs inside, and nothing that comes after."""
        with self._interrupting:
            self._feeding = row
        try:
            yield
        finally:
            with self._interrupting:
                self._feeding = None
                self._runs.resume()

    def _feed(self, row: DecoderRow, chunk: Ids) -> tuple[Logits, tuple[Choice, ...]]:
        """Run `chunk`, token by token where its log-probabilities are asked for."""
        if row.echo < 0:
            logits = self._runs.prefill(row.slot, chunk, row.length)
            row.length += len(chunk)
            return logits, ()
        scores = [self._feed_one(row, token) for token in chunk.tolist()]
        return cast(Logits, row.logits), tuple(scores)

    def _feed_one(self, row: DecoderRow, token: int) -> Choice:
        known = row.logits
        scored = Choice(token) if known is None else score(known, token, row.echo)
        row.logits = self._runs.prefill(row.slot, np.array([token], np.int32), row.length)
        row.length += 1
        return scored


def _chosen(
    row: DecoderRow, logits: Logits, prefilled: int = 0, scores: tuple[Choice, ...] = ()
) -> Step:
    try:
        choice = row.sampler.choose(logits)
    except EngineFailed as error:
        return Step(prefilled=prefilled, error=error)
    row.token = choice.token
    return Step(prefilled=prefilled, choice=choice, prompt_choices=scores)


def _failure(cause: OrtError) -> EngineFailed:
    # The runtime's words may hold paths: they go to the log, not to the client.
    _log.error("runtime failure", extra={"error": str(cause)})
    return EngineFailed("the runtime failed on this request")
