"""Makes, runs and judges every variant against the first one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from build.errors import BuildError
from build.optimize import choice, measure, quality
from build.optimize.choice import Bounds, Result
from build.optimize.measure import Lap, Pairs, Plan
from build.optimize.quality import Reading
from build.optimize.report import Report
from build.optimize.source import Source, size_bytes
from build.optimize.subjects import Scored, Subject, started
from build.optimize.variant import STOCK, Variant
from build.optimize.workshop import Workshop
from build.stages import Stages

UNQUANTIZED = "the unquantized model"


@dataclass(frozen=True, slots=True)
class Task:
    """What was asked for. `told` is a variant to choose whatever was measured, if any.

    `threads` 0 leaves their number to the engine. `against_stock` judges by the stock variant
    instead of the unquantized model.
    """

    variants: tuple[Variant, ...]
    text: str
    tokens: int
    plan: Plan
    bounds: Bounds
    threads: int = 0
    against_stock: bool = False
    told: Variant | None = None


class Trials:
    """The variants of one source, made below `scratch`."""

    def __init__(self, source: Source, task: Task, scratch: Path, stages: Stages) -> None:
        self._source = source
        self._task = task
        self._stages = stages
        self._scratch = scratch
        self.workshop = Workshop(source, scratch)

    def run(self) -> Report:
        """Measure everything; a variant that cannot be made or run is left out and named.

        Raises `BuildError` where the stock variant or the reference fails, or all others do.
        """
        before = os.getloadavg()[0]
        with self._stages.stage(STOCK):
            stock = self.workshop.make(Variant())
            with self._started(stock, STOCK) as subject:
                text = quality.reading(subject, self._task.text, self._task.tokens)
                own = quality.score(subject, text)
                engine = subject.engine
                plan = measure.fitted(self._task.plan, subject.context_length)
        name, reference = self._reference(text, own)
        report = Report(
            plan,
            self._task.bounds,
            name,
            quality.perplexity(reference),
            len(text.judged),
            (before, before),
        )
        tried = _Tried(own, engine, reference, text, plan)
        report.results = tuple(self._results(tried, report.left_out))
        report.load = (before, os.getloadavg()[0])
        self._choose(report)
        return report

    def folder(self, name: str) -> Path:
        """The folder of the variant `name`, which was made."""
        return next(path for one, path in self.workshop.made.items() if one.name == name)

    def _results(self, tried: _Tried, left_out: dict[str, tuple[str, ...]]) -> Iterator[Result]:
        laps: list[Lap] = []
        results = []
        for variant in self._task.variants[1:]:
            try:
                with self._stages.stage(variant.name):
                    pairs, result = self._try(variant, tried)
            except BuildError as error:
                left_out[variant.name] = error.problems
                continue
            laps += pairs.first
            results.append(result)
        if not results:
            raise BuildError([problem for problems in left_out.values() for problem in problems])
        yield self._stock(tried, laps)
        yield from results

    def _try(self, variant: Variant, tried: _Tried) -> tuple[Pairs, Result]:
        folder = self.workshop.make(variant, tried.text.calibration)
        stock = self.workshop.made[Variant()]
        with self._started(stock, STOCK) as first, self._started(folder, variant.name) as second:
            self._stages.say(f"{variant.name}: {tried.plan.rounds} rounds")
            pairs = measure.pairs(first, second, tried.plan)
            scored = quality.score(second, tried.text)
            engine = second.engine
        return pairs, _result(variant.name, engine, folder, pairs, scored, tried)

    def _stock(self, tried: _Tried, laps: Sequence[Lap]) -> Result:
        own = Pairs(tuple(laps), tuple(laps))
        folder = self.workshop.made[Variant()]
        return _result(STOCK, tried.engine, folder, own, tried.stock, tried)

    def _reference(self, text: Reading, stock: Scored) -> tuple[str, Scored]:
        if self._source.is_onnx or self._task.against_stock:
            return STOCK, stock
        with self._stages.stage("reference", UNQUANTIZED):
            folder = self.workshop.unquantized()
            with self._started(folder, UNQUANTIZED) as subject:
                scored = quality.score(subject, text)
            shutil.rmtree(folder)
        return UNQUANTIZED, scored

    def _choose(self, report: Report) -> None:
        if self._task.told is not None:
            names = [result.variant for result in report.results]
            report.chosen = self._task.told.name if self._task.told.name in names else ""
            report.is_told = True
            return
        best = choice.choose(report.results, report.bounds)
        report.chosen = best.variant if best else ""

    @contextmanager
    def _started(self, folder: Path, name: str) -> Iterator[Subject]:
        with started(folder, name, self._task.threads) as subject:
            yield subject


@dataclass(frozen=True, slots=True)
class _Tried:
    """What every variant is held against; `engine` is that of the stock one."""

    stock: Scored
    engine: str
    reference: Scored
    text: Reading
    plan: Plan


def _result(
    name: str, engine: str, folder: Path, pairs: Pairs, scored: Scored, tried: _Tried
) -> Result:
    perplexity = quality.perplexity(scored)
    return Result(
        variant=name,
        engine=engine,
        size_bytes=size_bytes(folder),
        prefill=tried.plan.prompt_tokens / median(lap.prefill_s for lap in pairs.second),
        decode=tried.plan.new_tokens / median(lap.decode_s for lap in pairs.second),
        prefill_ratio=pairs.ratio(lambda lap: lap.prefill_s),
        decode_ratio=pairs.ratio(lambda lap: lap.decode_s),
        request_ratio=pairs.ratio(lambda lap: lap.request_s),
        perplexity=perplexity,
        loss=perplexity / quality.perplexity(tried.reference) - 1,
        agreement=quality.agreement(scored, tried.reference),
    )
