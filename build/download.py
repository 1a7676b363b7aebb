"""Brings a model's files here, without those that hold Python code or pickles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from build import scrub
from build.errors import SourceNotFound
from build.progress import Progress
from build.source import Location, Source

# Nothing of these is served, and a pickle that is not here cannot be loaded by mistake.
LEFT_BEHIND = frozenset(
    (".pkl", ".pickle", ".cloudpickle", ".joblib", ".pt", ".pth", ".safetensors", ".py", ".pyc")
)
_OWN_BAR = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


@dataclass(frozen=True, slots=True)
class _Remote:
    path: str
    size_bytes: int


def fetch(location: Location, into: Path, progress: Progress) -> Source:
    """Put the files of `location` under `into`, or point to them where they are local.

    Raises `SourceNotFound` where the store fails or holds nothing there.
    """
    try:
        repository = get_artifact_repository(
            location.uri,
            tracking_uri=location.stores.tracking_uri or None,
            registry_uri=location.stores.registry_uri or None,
        )
        if isinstance(repository, LocalArtifactRepository):
            return _in_place(location, Path(repository.artifact_dir))
        _download(repository, into, progress)
    except (MlflowException, requests.RequestException) as error:
        detail = scrub.credentials(str(error)).splitlines()[0]
        raise SourceNotFound(f"the artifact store failed: {detail:.300}") from error
    except ImportError as error:
        raise SourceNotFound(
            f"this kind of artifact store needs the package {error.name}, which is not installed"
        ) from error
    return Source(into, location.lineage, location.name, is_ours=True)


def _in_place(location: Location, folder: Path) -> Source:
    if not folder.is_dir():
        raise SourceNotFound(
            f"the store keeps the files of {location.lineage.resolved_uri} in a folder that this "
            "machine does not have; run the export where it is, or serve artifacts over HTTP"
        )
    return Source(folder, location.lineage, location.name)


def _download(repository: Any, into: Path, progress: Progress) -> None:
    files = sorted(_wanted(repository, ""), key=lambda file: file.path)
    if not files:
        raise SourceNotFound("the artifact store holds no files there")
    os.environ[_OWN_BAR] = "false"
    into.mkdir(parents=True, exist_ok=True)
    with progress.bar("download", sum(file.size_bytes for file in files)) as bar:
        for file in files:
            with bar.watch(into / file.path):
                repository.download_artifacts(file.path, str(into))
            _check(into / file.path, file)


def _check(path: Path, file: _Remote) -> None:
    """A connection that breaks may leave a part of the file without an error."""
    size = path.stat().st_size
    if file.size_bytes not in (0, size):
        raise SourceNotFound(
            f"the artifact store sent {size} of the {file.size_bytes} bytes of {file.path}"
        )


def _wanted(repository: Any, folder: str) -> Iterator[_Remote]:
    for entry in repository.list_artifacts(folder or None):
        if entry.is_dir:
            yield from _wanted(repository, entry.path)
        elif PurePosixPath(entry.path).suffix.lower() not in LEFT_BEHIND:
            yield _Remote(entry.path, entry.file_size or 0)
