"""Continuous batching behind the Engine protocol: rows join and leave at any step.

Rows that decode lie in the slots from 0 on and go through the model together; rows whose prompt
is still coming in lie behind them and are fed by chunks, one row at a time, so that running
answers never wait for a whole prompt. When a row leaves, the last one of its kind moves into its
place. What it has seen is kept as a prefix: a prompt takes over what it shares with a kept sequence
or with another row at the moment it begins to go in.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np

from edge.engine.base import Choice, Constraint, Ids, Limits, Row, Step, common
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.prefixes import LEAST_TOKENS, Prefixes
from edge.engine.decoder.row import DecoderRow
from edge.engine.decoder.runs import Logits, Runs
from edge.engine.ort import OrtError, Terminated
from edge.engine.pace import Pace
from edge.engine.sampling import Sampler, check, score
from edge.errors import EngineFailed
from edge.generation import Sampling

_log = logging.getLogger(__name__)


class DecoderEngine:
    """A decoder graph over one arena of KV memory; owned by the scheduler's thread."""

    def __init__(
        self,
        runs: Runs,
        arena: Arena,
        limits: Limits,
        *,
        slots: int,
        row_tokens: int,
        prefill_chunk_ms: int,
    ) -> None:
        """`slots` rows of at most `row_tokens`; what else the arena holds is the prefix cache."""
        self._runs = runs
        self._arena = arena
        self._limits = limits
        self._slots = slots
        self._row_tokens = row_tokens
        self._pace = Pace(prefill_chunk_ms / 1000)
        self._rows: list[DecoderRow] = []  # by slot
        self._prefixes = Prefixes(arena, slots)
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
        if len(self._rows) == self._slots:
            raise EngineFailed("every slot is taken")
        if len(prompt) + max_tokens > self._row_tokens:
            raise EngineFailed("the sequence is longer than a slot")
        row = DecoderRow(
            prompt,
            max_tokens,
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
            cached = 0 if row.length else self._take_over(row)
            steps[id(row)] = dataclasses.replace(self._prefill(row), cached=cached)
            if not row.is_prefilling:
                self._fill(len(decoding), row.slot)
        return [steps[id(row)] for row in rows]

    def interrupt(self, row: Row) -> None:
        """End the chunk of `row` that is going through the model, within an operator's time."""
        with self._interrupting:
            if self._feeding is row:
                self._runs.interrupt()

    def close(self, row: Row) -> None:
        """Keep what the row has seen as a prefix, and give its slot to the last rows.

        The last decoding row moves into a gap among those, then the last of all. Closing a row
        again does nothing.
        """
        self._close(cast(DecoderRow, row))

    def keep(self, most_bytes: int) -> None:
        """Let go of the prefixes used longest ago until they hold `most_bytes` or less."""
        self._prefixes.trim(most_bytes // max(1, self._limits.kv_bytes_per_token))

    def preload(self, prompt: Ids) -> None:
        """Run `prompt` and pin it as a prefix. Raises `EngineFailed`."""
        row = cast(DecoderRow, self.open(prompt, 0, Sampling(temperature=0)))
        try:
            while row.is_prefilling:
                (step,) = self.advance([row])
                if step.error is not None:
                    raise step.error
        finally:
            self._close(row, is_pinned=not row.is_prefilling)

    def _close(self, row: DecoderRow, *, is_pinned: bool = False) -> None:
        if row not in self._rows:
            return
        gap = row.slot
        self._prefixes.add(row.seen, gap, is_pinned=is_pinned)
        if not row.is_prefilling:
            last = max(other.slot for other in self._rows if not other.is_prefilling)
            gap = self._fill(gap, last)
        self._fill(gap, len(self._rows) - 1)
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
            steps[id(row)] = row.choose(own)
        return steps

    def _take_over(self, row: DecoderRow) -> int:
        """Start `row` with what a prefix or another row has of its prompt; returns how much."""
        if row.echo >= 0:
            return 0  # each of its tokens must be scored
        prefix, kept = self._prefixes.find(row.prompt)
        alike = {common(other.seen, row.prompt): other for other in self._rows}
        running = max(alike)
        # One token at least is left: the logits after it choose the first of the answer.
        shared = min(max(kept, running), len(row.prompt) - 1)
        if shared < LEAST_TOKENS:
            return 0
        if prefix is not None and kept >= running:
            self._prefixes.give(prefix, row.slot, shared)
        else:
            self._arena.copy(alike[running].slot, row.slot, shared)
        row.length = shared
        return shared

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
        return row.choose(logits, len(chunk), scores)

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


def _failure(cause: OrtError) -> EngineFailed:
    # The runtime's words may hold paths: they go to the log, not to the client.
    _log.error("runtime failure", extra={"error": str(cause)})
    return EngineFailed("the runtime failed on this request")
