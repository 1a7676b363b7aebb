"""Any onnxruntime-genai decoder model behind the Engine protocol, one Generator a row.

Model calls release the interpreter (`oga.py`). Prompts go in by chunks whose length is steered
towards `prefill_chunk_ms`, so that running rows and cancels never wait for a whole prompt.
Tokens are sampled in numpy from the logits, which gives every model the whole set of sampling
settings and log-probabilities.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import cast

import numpy as np

from edge.bundle import Manifest
from edge.engine import oga
from edge.engine import spin as spinning
from edge.engine.base import Choice, Constraint, Ids, Limits, Row, Step
from edge.engine.pace import Pace
from edge.engine.sampling import Logits, Sampler, check, score
from edge.errors import EngineFailed, StartupError
from edge.generation import Sampling

_log = logging.getLogger(__name__)


class GenaiRow:
    """A sequence: its generator, the tokens the model has not seen yet, and its sampler."""

    def __init__(
        self, generator: oga.Generator, prompt: Ids, sampler: Sampler, kv_bytes: int, echo: int
    ) -> None:
        """`echo` is -1, or how many alternatives to report for each token of the prompt."""
        self.generator = generator
        self.sampler = sampler
        self.echo = echo
        self._prompt = prompt
        self._seen = 0
        self._next: Ids | None = None
        self._kv_bytes = kv_bytes

    @property
    def kv_bytes(self) -> int:
        """KV memory reserved for this row, in bytes."""
        return self._kv_bytes

    @property
    def is_prefilling(self) -> bool:
        """Whether the model has yet to see a part of the prompt."""
        return self._seen < len(self._prompt)

    def prefill(self, tokens: int) -> Step:
        """Run the next `tokens` of the prompt; samples where that completes it."""
        chunk = self._prompt[self._seen : self._seen + tokens]
        scores = self._run_scored(chunk) if self.echo >= 0 else self._run(chunk)
        self._seen += len(chunk)
        choice = None if self.is_prefilling else self._choose()
        return Step(prefilled=len(chunk), choice=choice, prompt_choices=scores)

    def decode(self) -> Step:
        """Feed the token that was chosen last and choose the next one."""
        if self._next is not None:
            self.generator.append_tokens(self._next)
        return Step(choice=self._choose())

    def _run(self, chunk: Ids) -> tuple[Choice, ...]:
        self.generator.append_tokens(chunk)
        return ()

    def _run_scored(self, chunk: Ids) -> tuple[Choice, ...]:
        # Exports with a pruned LM head return the last position only: one token a call.
        scores: list[Choice] = []
        for token in chunk:
            if self._seen or scores:
                scores.append(score(self._logits(), int(token), self.echo))
            else:
                scores.append(Choice(int(token)))
            self.generator.append_tokens(np.array([token], dtype=np.int32))
        return tuple(scores)

    def _choose(self) -> Choice:
        choice = self.sampler.choose(self._logits())
        self._next = np.array([choice.token], dtype=np.int32)
        return choice

    def _logits(self) -> Logits:
        return self.generator.logits()


class GenaiEngine:
    """An onnxruntime-genai model; owned by the scheduler's thread."""

    def __init__(self, model: oga.Model, limits: Limits, *, prefill_chunk_ms: int) -> None:
        self._model = model
        self._limits = limits
        self._pace = Pace(prefill_chunk_ms / 1000)

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
        """Reserve a row whose KV cache holds `len(prompt) + max_tokens` tokens, no more."""
        check(sampling, self._limits.vocab_size)
        if adapter:
            raise EngineFailed("this engine knows no adapters")
        length = len(prompt) + max_tokens
        try:
            # Without a seed the runtime draws 624 words of hardware entropy: 15 ms where that is
            # slow. Its own random state is never used, since sampling happens in numpy.
            generator = oga.Generator(
                self._model, max_length=length, num_beams=1, batch_size=1, random_seed=0
            )
        except oga.OgaError as error:
            raise _failure("the runtime could not reserve a sequence", error) from error
        return GenaiRow(
            generator,
            prompt,
            Sampler(sampling, prompt, constraint),
            length * self._limits.kv_bytes_per_token,
            (sampling.logprobs or 0) if echo_logprobs else -1,
        )

    def advance(self, rows: list[Row]) -> list[Step]:
        """A prefill chunk for the first row that needs one, a token for each row past that.

        A failure of the runtime ends the row that it struck, in its step's `error`.
        """
        steps = []
        own = cast(list[GenaiRow], rows)
        self._pace.is_patient = all(row.is_prefilling for row in own)
        may_prefill = True
        for row in own:
            waits = row.is_prefilling and not may_prefill
            may_prefill = may_prefill and not row.is_prefilling
            steps.append(Step() if waits else self._advance(row))
        return steps

    def _advance(self, row: GenaiRow) -> Step:
        try:
            return self._prefill(row) if row.is_prefilling else row.decode()
        except EngineFailed as error:
            return Step(error=error)
        except oga.OgaError as error:
            return Step(error=_failure("the runtime failed on this request", error))

    def _prefill(self, row: GenaiRow) -> Step:
        start = time.perf_counter()
        step = row.prefill(self._pace.tokens)
        self._pace.note(step.prefilled, time.perf_counter() - start)
        return step

    def interrupt(self, row: Row) -> None:
        """Nothing: this runtime cannot be stopped within a call, and calls are short."""

    def close(self, row: Row) -> None:
        """Free the row's generator, and with it its KV memory."""
        cast(GenaiRow, row).generator.close()

    def keep(self, most_bytes: int) -> None:
        """Nothing: this runtime keeps no prefix."""

    def preload(self, prompt: Ids) -> None:
        """Nothing: this runtime keeps no prefix."""

    def shutdown(self) -> None:
        """Release the model."""
        self._model.close()


def load(folder: Path, *, threads: int, spin: bool) -> oga.Model:
    """Load the model in `folder` with `threads` intra-op threads.

    `spin` lets idle ones wait awake for a moment.

    Raises `StartupError` with the runtime's own words.
    """
    session = {"intra_op_num_threads": threads, **spinning.entries(spin)}
    overlay = json.dumps({"model": {"decoder": {"session_options": session}}})
    try:
        return oga.Model(folder, overlay)
    except oga.OgaError as error:
        raise StartupError([f"model: the runtime cannot load it: {error}"]) from error


def limits(manifest: Manifest, folder: Path) -> Limits:
    """The limits of a bundle's model; `vocab_size` comes from its `genai_config.json`."""
    config = json.loads((folder / "genai_config.json").read_bytes())
    return Limits(
        context_length=manifest.context_length,
        eos_ids=frozenset(manifest.eos_ids),
        vocab_size=int(config["model"]["vocab_size"]),
        kv_bytes_per_token=manifest.kv_bytes_per_token,
    )


def _failure(message: str, cause: oga.OgaError) -> EngineFailed:
    # The runtime's words may hold paths: they go to the log, not to the client.
    _log.error("runtime failure", extra={"error": str(cause)})
    return EngineFailed(message)
