"""Continuous batching behind the Engine protocol: rows join and leave at any step.

Each call decodes a token of every row whose prompt is in, all in one run, and then a chunk of one
prompt, so that running answers never wait for a whole prompt. A row that decodes alone may get
several tokens from one run (`drafts.py`). A run has one adapter: rows of several take turns.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np

from edge.engine.base import Choice, Constraint, Ids, Limits, Row, Step
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.drafts import MOST_TOKENS, Costs, Drafter
from edge.engine.decoder.placement import Placement
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
        speculates: bool,
    ) -> None:
        """`slots` rows of at most `row_tokens`; what else the arena holds is the prefix cache.

        With `speculates`, tokens are drafted where the graph can verify them.
        """
        self._runs = runs
        self._limits = limits
        self._row_tokens = row_tokens
        self._placement = Placement(arena, slots)
        self._costs = Costs()
        self._speculates = speculates and runs.can_verify
        self._pace = Pace(prefill_chunk_ms / 1000)
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
        adapter: str = "",
    ) -> Row:
        """Take the next slot; its pages are committed as tokens come."""
        check(sampling, self._limits.vocab_size)
        if adapter not in self._runs.adapters:
            raise EngineFailed("the model has no such adapter")
        if self._placement.is_full:
            raise EngineFailed("every slot is taken")
        if len(prompt) + max_tokens > self._row_tokens:
            raise EngineFailed("the sequence is longer than a slot")
        row = DecoderRow(
            prompt,
            max_tokens,
            Sampler(sampling, prompt, constraint),
            (len(prompt) + max_tokens) * self._limits.kv_bytes_per_token,
            (sampling.logprobs or 0) if echo_logprobs else -1,
            adapter,
        )
        if self._speculates:
            row.drafter = Drafter(self._costs)
        self._placement.add(row)
        return row

    def advance(self, rows: list[Row]) -> list[Step]:
        """A token for every row whose prompt is in, then a chunk for the first of the others."""
        steps = {id(row): Step() for row in rows}
        ahead = {id(row): row.ahead.popleft() for row in self._placement.rows if row.ahead}
        if ahead:
            steps |= ahead
            return [steps[id(row)] for row in rows]
        decoding = self._placement.decoding
        waiting = [row for row in cast(list[DecoderRow], rows) if row.is_prefilling]
        if decoding:
            start = time.perf_counter()
            steps |= self._decode_one(*decoding) if len(decoding) == 1 else self._decode(decoding)
            self._pace.note_step(time.perf_counter() - start)
        if waiting:
            self._pace.is_patient = not decoding
            # The one that has begun, else the first: no other waiting row has anything to move.
            row = min(waiting, key=lambda row: row.length == 0)
            cached = 0 if row.length else self._placement.start(row)
            steps[id(row)] = dataclasses.replace(self._prefill(row), cached=cached)
            if not row.is_prefilling:
                self._placement.promote(row)
        return [steps[id(row)] for row in rows]

    def interrupt(self, row: Row) -> None:
        """End the chunk of `row` that is going through the model, within an operator's time."""
        with self._interrupting:
            if self._feeding is row:
                self._runs.interrupt()

    def close(self, row: Row) -> None:
        """Keep what the row has seen as a prefix, and free its slot. Again does nothing."""
        self._placement.remove(cast(DecoderRow, row))

    def keep(self, most_bytes: int) -> None:
        """Let go of the prefixes used longest ago until they hold `most_bytes` or less."""
        self._placement.prefixes.trim(most_bytes // max(1, self._limits.kv_bytes_per_token))

    def preload(self, prompt: Ids) -> None:
        """Run `prompt` and pin it as a prefix. Raises `EngineFailed`."""
        row = cast(DecoderRow, self.open(prompt, 0, Sampling(temperature=0)))
        try:
            while row.is_prefilling:
                (step,) = self.advance([row])
                if step.error is not None:
                    raise step.error
        finally:
            self._placement.remove(row, is_pinned=not row.is_prefilling)

    def rethread(self, threads: int) -> None:
        """Go on with `threads` threads; from any thread but the owner's, rows do not notice.

        Raises `EngineFailed` where the runtime cannot; the engine then goes on as before.
        """
        try:
            self._runs.rethread(threads)
        except OrtError as error:
            raise _failure(error) from error

    def shutdown(self) -> None:
        """Release the model."""
        self._runs.close()

    def _decode_one(self, row: DecoderRow) -> dict[int, Step]:
        """Decode the only row that does: a run of its token and of a draft of what follows."""
        draft, is_forced = self._draft(row)
        start = time.perf_counter()
        if not len(draft):
            steps = self._decode_alike([row])
            self._costs.note(1, time.perf_counter() - start)
            if row.drafter is not None:
                row.drafter.note_plain(row.token)
            return steps
        tokens = np.concatenate([np.array([row.token], np.int32), draft])
        try:
            logits = self._runs.verify(row.slot, tokens, row.length, row.adapter)
        except OrtError as error:
            return {id(row): Step(error=_failure(error))}
        agreed = self._keep_agreed(row, draft, logits)
        self._costs.note(len(tokens), time.perf_counter() - start)
        if row.drafter is not None and not is_forced:
            row.drafter.note(agreed, len(draft))
        return {id(row): row.ahead.popleft()}

    def _draft(self, row: DecoderRow) -> tuple[Ids, bool]:
        """Tokens that may come next, and whether that is for certain."""
        if row.drafter is None or row.room < 2:
            return row.known[:0], False
        forced = row.sampler.forced()[: min(row.room - 1, MOST_TOKENS)]
        if forced:
            return np.array(forced, dtype=np.int32), True
        return row.drafter.draft(row.known, row.room - 1), False

    def _keep_agreed(self, row: DecoderRow, draft: Ids, logits: Logits) -> int:
        """Sample from `logits` (drafted + 1, vocab) until the draft is left; returns its share."""
        agreed = 0
        for after in logits:
            row.length += 1
            step = row.choose(after)
            row.ahead.append(step)
            is_over = step.choice is None or step.choice.token in self._limits.eos_ids
            if is_over or agreed == len(draft) or row.token != draft[agreed]:
                break
            agreed += 1
        return agreed

    def _decode(self, rows: list[DecoderRow]) -> dict[int, Step]:
        """A run for each stretch of rows of one adapter."""
        steps: dict[int, Step] = {}
        for _, alike in itertools.groupby(rows, key=lambda row: row.adapter):
            steps |= self._decode_alike(list(alike))
        return steps

    def _decode_alike(self, rows: list[DecoderRow]) -> dict[int, Step]:
        tokens = np.array([row.token for row in rows], dtype=np.int64)
        lengths = np.array([row.length for row in rows], dtype=np.int64)
        try:
            logits = self._runs.decode(tokens, lengths, rows[0].slot, rows[0].adapter)
        except OrtError as error:
            failed = Step(error=_failure(error))
            return {id(row): failed for row in rows}
        steps = {}
        for row, own in zip(rows, logits, strict=True):
            row.length += 1
            steps[id(row)] = row.choose(own)
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
            logits = self._runs.prefill(row.slot, chunk, row.length, row.adapter)
            row.length += len(chunk)
            return logits, ()
        scores = [self._feed_one(row, token) for token in chunk.tolist()]
        return cast(Logits, row.logits), tuple(scores)

    def _feed_one(self, row: DecoderRow, token: int) -> Choice:
        known = row.logits
        scored = Choice(token) if known is None else score(known, token, row.echo)
        only = np.array([token], np.int32)
        row.logits = self._runs.prefill(row.slot, only, row.length, row.adapter)
        row.length += 1
        return scored


def _failure(cause: OrtError) -> EngineFailed:
    # The runtime's words may hold paths: they go to the log, not to the client.
    _log.error("runtime failure", extra={"error": str(cause)})
    return EngineFailed("the runtime failed on this request")
