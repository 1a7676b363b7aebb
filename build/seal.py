"""The whole way of a model: resolve, fetch, validate, write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from build import address, bundle, mlmodel, source, validate, workspace
from build.address import Local, Remote
from build.errors import BuildError
from build.model import Model
from build.options import Options, Stores
from build.pipeline import flavor
from build.pipeline import validate as pipeline
from build.progress import Progress
from build.source import Source
from build.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: the model, how it is to be served, which MLflow to ask."""

    uri: str
    options: Options
    stores: Stores


def seal(job: Job, output: Path, *, force: bool, progress: Progress) -> Verdict:
    """Export the job's model to `output`; the verdict holds the problems there were.

    Raises `UsageError` for a malformed URI; all else is in the verdict.
    """
    verdict = Verdict(job.uri)
    try:
        bundle.check_output(output, force=force)
        with workspace.beside(output) as work:
            model, found = _through(job, verdict, work, progress)
            verdict.bundle = bundle.write(
                model, found, job.options, work, output, progress, force=force
            )
    except BuildError as error:
        verdict.findings.problems = list(error.problems)
    return verdict


def look(job: Job, progress: Progress) -> Verdict:
    """The same without writing a bundle."""
    verdict = Verdict(job.uri)
    try:
        with TemporaryDirectory(prefix="phial-inspect-") as work:
            _through(job, verdict, Path(work), progress)
    except BuildError as error:
        verdict.findings.problems = list(error.problems)
    return verdict


def _through(job: Job, verdict: Verdict, work: Path, progress: Progress) -> tuple[Model, Source]:
    """As far as there is a checked model; `work` takes what must be downloaded or made."""
    target = address.parse(job.uri)
    if isinstance(target, Local):
        found = source.local(target.folder)
    else:
        found = _fetched(job, target, work, progress)
    verdict.lineage = found.lineage
    return _checked(found, job.options, verdict, work), found


def _checked(found: Source, options: Options, verdict: Verdict, work: Path) -> Model:
    if flavor.is_pipeline(found.folder, mlmodel.read(found.folder)):
        return pipeline.validate(found, options, verdict.findings, work / "pipeline")
    return validate.validate(found, options, verdict.findings)


def _fetched(job: Job, target: Remote, work: Path, progress: Progress) -> Source:
    from build import download, resolve  # MLflow takes its time to import, and folders need none

    location = resolve.resolve(job.uri, target, job.stores)
    allowed = download.Allowed(job.options.allow_pickle, job.options.allow_remote_code)
    return download.fetch(location, work / "download", progress, allowed)
