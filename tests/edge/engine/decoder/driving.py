"""Drives a decoder engine by a schedule, and judges its tokens by onnxruntime-genai's own loop."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.engine import genai, oga
from edge.engine.base import Limits
from edge.engine.decoder import opening
from edge.engine.decoder.engine import DecoderEngine
from edge.engine.decoder.runs import Adapters
from edge.engine.pace import Pace
from edge.generation import Sampling

GREEDY = Sampling(temperature=0)
SLOTS = 6
_HEAD, _SEED = 200, 7


class Fixed(Pace):
    """Chunks of one length."""

    def __init__(self, tokens: int) -> None:
        super().__init__(1.0)
        self._fixed = tokens

    @property
    def tokens(self) -> int:
        return self._fixed


@dataclass(frozen=True)
class Job:
    """A request of a schedule: `leaves` ticks after it came in, if it has not ended before.

    Its prompt begins with the first `head` tokens of a text that all jobs share.
    """

    arrives: int
    length: int
    seed: int
    max_tokens: int
    leaves: int | None = None
    head: int = 0
    adapter: str = ""


@dataclass
class Said:
    """What became of a job."""

    job: Job
    prompt: np.ndarray
    tokens: list[int] = field(default_factory=list)
    cached: int = 0
    has_left: bool = False


@dataclass
class Tally:
    """How the tokens of many answers compare: `ties` are not the reference's first choice."""

    tokens: int = 0
    ties: int = 0
    worst: float = 0.0
    cached: int = 0

    def add(self, gaps: Sequence[float]) -> None:
        self.tokens += len(gaps)
        self.ties += sum(gap > 0 for gap in gaps)
        self.worst = max(self.worst, *gaps, 0.0)


def limits_of(folder: Path) -> Limits:
    config = json.loads((folder / "genai_config.json").read_bytes())["model"]
    ends = config["eos_token_id"]
    return Limits(
        context_length=config["context_length"],
        eos_ids=frozenset(ends if isinstance(ends, list) else [ends]),
        vocab_size=config["vocab_size"],
        kv_bytes_per_token=64,
    )


def load(
    folder: Path,
    *,
    slots: int = SLOTS,
    row_tokens: int | None = None,
    prefixes: int = 0,
    speculates: bool = False,
    adapters: Adapters | None = None,
) -> DecoderEngine:
    limits = limits_of(folder)
    return opening.load(
        folder,
        limits,
        threads=1,
        spin=False,
        slots=slots,
        row_tokens=row_tokens or limits.context_length,
        prefill_chunk_ms=100,
        prefixes=prefixes,
        speculates=speculates,
        adapters=adapters,
    )


def prompt_of(length: int, limits: Limits, seed: int = 0) -> np.ndarray:
    """Random ids, none of which ends a text."""
    draw = np.random.default_rng(seed)
    ids = [token for token in range(limits.vocab_size) if token not in limits.eos_ids]
    return draw.choice(np.array(ids, dtype=np.int32), length)


class Reference:
    """onnxruntime-genai's own generator, a sequence at a time."""

    def __init__(self, folder: Path) -> None:
        self._model = genai.load(folder, threads=1, spin=False)
        self._limits = limits_of(folder)

    def _generator(self, length: int) -> oga.Generator:
        # It fails on models with a window where it is given less room than that.
        return oga.Generator(self._model, max_length=max(length, 32))

    def logits(
        self, prompt: np.ndarray, tokens: Sequence[int], chunk: int = 512
    ) -> Iterator[np.ndarray]:
        """The logits that precede each of `tokens`, float32 of shape (vocab,)."""
        generator = self._generator(len(prompt) + len(tokens))
        try:
            for start in range(0, len(prompt), chunk):
                generator.append_tokens(np.ascontiguousarray(prompt[start : start + chunk]))
            yield generator.logits()
            for token in tokens[:-1]:
                generator.append_tokens(np.array([token], dtype=np.int32))
                yield generator.logits()
        finally:
            generator.close()

    def gaps(self, prompt: np.ndarray, tokens: Sequence[int], chunk: int = 512) -> list[float]:
        """How far each of `tokens` was from being chosen: 0 where it has the highest logit.

        Every token is judged after the ones before it, so that one near-tie hides nothing that
        comes later.
        """
        if not tokens:
            return []
        rows = self.logits(prompt, tokens, chunk)
        return [
            float(row.max() - row[token]) if row.argmax() != token else 0.0
            for row, token in zip(rows, tokens, strict=True)
        ]

    def greedy(self, prompt: np.ndarray, max_tokens: int, chunk: int = 512) -> list[int]:
        """The tokens that follow, an end token included."""
        tokens: list[int] = []
        generator = self._generator(len(prompt) + max_tokens)
        for start in range(0, len(prompt), chunk):
            generator.append_tokens(np.ascontiguousarray(prompt[start : start + chunk]))
        while len(tokens) < max_tokens and not (tokens and tokens[-1] in self._limits.eos_ids):
            if tokens:
                generator.append_tokens(np.array(tokens[-1:], dtype=np.int32))
            tokens.append(int(generator.logits().argmax()))
        generator.close()
        return tokens


def run(engine, rows, max_tokens: int) -> list[list[int]]:
    """Advance `rows` together until each has ended; their tokens, end tokens included."""
    said: dict[int, list[int]] = {id(row): [] for row in rows}
    left = list(rows)
    while left:
        for row, step in zip(list(left), engine.advance(left), strict=True):
            assert step.error is None
            if step.choice is None:
                continue
            said[id(row)].append(step.choice.token)
            if step.choice.token in engine.limits.eos_ids or len(said[id(row)]) == max_tokens:
                engine.close(row)
                left.remove(row)
    return [said[id(row)] for row in rows]


def simulate(engine: DecoderEngine, jobs: Sequence[Job], chunks: Sequence[int]) -> list[Said]:
    """Let `jobs` come, share the engine and go; tick n prefills `chunks[n % len]` tokens."""
    waiting = sorted(jobs, key=lambda job: job.arrives)
    running: list[tuple] = []  # row, said, the tick it leaves at
    ended: list[Said] = []
    tick = 0
    while waiting or running:
        engine._pace = Fixed(chunks[tick % len(chunks)])
        for entry in [entry for entry in running if entry[2] == tick]:
            entry[1].has_left = True
            _end(engine, entry, running, ended)
        while waiting and waiting[0].arrives <= tick and len(running) < SLOTS:
            running.append(_begin(engine, waiting.pop(0), tick))
        steps = engine.advance([row for row, _, _ in running])
        for entry, step in zip(list(running), steps, strict=True):
            assert step.error is None
            entry[1].cached += step.cached
            if step.choice is not None:
                tokens = entry[1].tokens
                tokens.append(step.choice.token)
                if tokens[-1] in engine.limits.eos_ids or len(tokens) == entry[1].job.max_tokens:
                    _end(engine, entry, running, ended)
        check_slots(engine)
        tick += 1
    assert engine._placement.rows == []
    return ended


def check_slots(engine: DecoderEngine) -> None:
    """Rows lie in the slots from 0 on, those that decode first, by adapters."""
    assert [row.slot for row in engine._placement.rows] == list(range(len(engine._placement.rows)))
    waits = [row.is_prefilling for row in engine._placement.rows]
    assert waits == sorted(waits)
    adapters = [row.adapter for row in engine._placement.decoding]
    assert len(list(itertools.groupby(adapters))) == len(set(adapters))


def _begin(engine: DecoderEngine, job: Job, tick: int) -> tuple:
    own = prompt_of(job.length, engine.limits, job.seed)
    prompt = np.concatenate([prompt_of(_HEAD, engine.limits, _SEED)[: job.head], own])
    leaves = None if job.leaves is None else tick + job.leaves
    row = engine.open(prompt, job.max_tokens, GREEDY, adapter=job.adapter)
    return row, Said(job, prompt), leaves


def _end(engine: DecoderEngine, entry: tuple, running: list[tuple], ended: list[Said]) -> None:
    engine.close(entry[0])
    running.remove(entry)
    ended.append(entry[1])
