"""Continuous batching over a transformers model behind the Engine protocol.

A call of `advance` decodes a token of every row whose prompt is in and reads a chunk of one
prompt, all in one forward call where the model allows it. Tokens are sampled in numpy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import cast

import numpy as np

from edge.engine.base import Constraint, Ids, Limits, Row, Step
from edge.engine.pace import Pace
from edge.engine.pipeline.packed import Interrupted
from edge.engine.pipeline.row import PipelineRow
from edge.engine.pipeline.runner import Piece, Runner
from edge.engine.pipeline.threads import Threads
from edge.engine.sampling import Sampler, check
from edge.errors import EngineFailed
from edge.generation import Sampling

_log = logging.getLogger(__name__)
# Logits of every token of a chunk, for the log-probabilities of a prompt, take no more than this.
_SCORED_BYTES = 64 << 20
_FLOAT32_BYTES = 4
Job = tuple[PipelineRow, Piece]


class PipelineEngine:
    """A transformers model; owned by the scheduler's thread."""

    def __init__(
        self, runner: Runner, limits: Limits, *, threads: Threads, prefill_chunk_ms: int
    ) -> None:
        self._runner = runner
        self._limits = limits
        self._threads = threads
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
        """Reserve address space for `len(prompt) + max_tokens` tokens."""
        check(sampling, self._limits.vocab_size)
        if adapter:
            raise EngineFailed("this engine knows no adapters")
        capacity = len(prompt) + max_tokens
        try:
            memory = self._runner.room(capacity)
        except (OSError, RuntimeError) as error:
            raise _failure("the system could not reserve a sequence", error) from error
        return PipelineRow(
            memory,
            prompt,
            Sampler(sampling, prompt, constraint),
            capacity * self._limits.kv_bytes_per_token,
            (sampling.logprobs or 0) if echo_logprobs else -1,
        )

    def advance(self, rows: list[Row]) -> list[Step]:
        """A token for every row whose prompt is in, and a chunk for the first of the others.

        A failure of torch ends the rows that it struck, in their step's `error`.
        """
        self._threads.apply()
        own = cast(list[PipelineRow], rows)
        decoding = [row for row in own if not row.is_prefilling]
        waiting = [row for row in own if row.is_prefilling]
        # The one that has begun, else the first.
        fed = min(waiting, key=lambda row: row.length == 0) if waiting else None
        self._pace.is_patient = not decoding
        jobs = {id(row.memory): (row, _next(row)) for row in decoding}
        if fed is not None:
            jobs[id(fed.memory)] = (fed, self._chunk(fed))
        steps = {id(row): Step() for row in own}
        for group in self._runner.groups([piece for _, piece in jobs.values()]):
            steps |= self._run([jobs[id(piece.memory)] for piece in group], fed)
        return [steps[id(row)] for row in rows]

    def interrupt(self, row: Row) -> None:
        """End the call that reads a chunk of `row`; what else it held is run again at once."""
        with self._interrupting:
            if self._feeding is row:
                self._runner.interrupt()

    def close(self, row: Row) -> None:
        """Free the row's memory."""
        cast(PipelineRow, row).memory = None

    def keep(self, most_bytes: int) -> None:
        """Nothing: this engine keeps no prefix."""

    def preload(self, prompt: Ids) -> None:
        """Nothing: this engine keeps no prefix."""

    def rethread(self, threads: int) -> None:
        """Go on with `threads` threads from the next step on. Any thread."""
        self._threads.wanted = threads

    def shutdown(self) -> None:
        """Release the model."""
        del self._runner

    def _chunk(self, row: PipelineRow) -> Piece:
        tokens = self._pace.tokens if self._runner.reads_chunks else len(row.prompt)
        is_scored = row.echo >= 0
        if is_scored:
            fitting = _SCORED_BYTES // (_FLOAT32_BYTES * self._limits.vocab_size)
            tokens = min(tokens, max(1, fitting)) if self._runner.reads_chunks else tokens
        ids = row.prompt[row.length : row.length + tokens]
        return Piece(row.memory, ids, row.length, is_scored)

    def _run(self, jobs: Sequence[Job], fed: PipelineRow | None) -> dict[int, Step]:
        """Steps of the rows that share a call; without the one that is `fed` where that fails."""
        chunk = next((job for job in jobs if job[0] is fed), None)
        rest = [job for job in jobs if job is not chunk]
        try:
            return self._call(jobs, chunk)
        except Interrupted:
            failed = {}
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            struck = [chunk[0]] if chunk else [row for row, _ in rest]
            problem = _failure("the runtime failed on this request", error)
            failed = {id(row): Step(error=problem) for row in struck}
        return failed | (self._run(rest, None) if chunk and rest else {})

    def _call(self, jobs: Sequence[Job], chunk: Job | None) -> dict[int, Step]:
        start_s = time.perf_counter()
        with self._interrupting:
            self._feeding = chunk[0] if chunk else None
        try:
            logits = self._runner.run([piece for _, piece in jobs])
        finally:
            with self._interrupting:
                self._feeding = None
                self._runner.resume()
        spent_s = time.perf_counter() - start_s
        if chunk is not None:
            self._pace.note(len(chunk[1].ids), spent_s)
        else:
            self._pace.note_step(spent_s)
        return {
            id(row): row.take(len(piece.ids), own)
            for (row, piece), own in zip(jobs, logits, strict=True)
        }


def _next(row: PipelineRow) -> Piece:
    return Piece(row.memory, np.array([row.token], dtype=np.int32), row.length)


def _failure(message: str, cause: Exception) -> EngineFailed:
    # The runtime's words may hold paths: they go to the log, not to the client.
    _log.error("runtime failure", extra={"error": str(cause)})
    return EngineFailed(message)
