"""Brings a model's files here, without those that hold Python code or pickles.

Of a model of the transformers flavor the weights come too, which no other flavor needs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from build import mlmodel, scrub
from build.errors import InvalidModel, SourceNotFound
from build.mlmodel import MLMODEL
from build.progress import Progress
from build.source import Location, Source

# Nothing of these is served, and a pickle that is not here cannot be loaded by mistake.
LEFT_BEHIND = frozenset(
    (".pkl", ".pickle", ".cloudpickle", ".joblib", ".pt", ".pth", ".safetensors", ".py", ".pyc")
)
PICKLED_WEIGHTS = frozenset((".bin", ".pt", ".pth"))
CODE = frozenset((".py",))
# Weights of other frameworks, which a folder of Hugging Face may hold beside its own.
_OTHER_WEIGHTS = frozenset((".h5", ".msgpack", ".gguf", ".onnx", ".ckpt", ".ot", ".npz"))
_OWN_BAR = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


@dataclass(frozen=True, slots=True)
class _Remote:
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may come along with a model of the transformers flavor: see the flags of an export."""

    pickles: bool = False
    code: bool = False


def fetch(
    location: Location, into: Path, progress: Progress, allowed: Allowed | None = None
) -> Source:
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
        left = _download(repository, into, progress, allowed or Allowed())
    except (MlflowException, requests.RequestException) as error:
        detail = scrub.credentials(str(error)).splitlines()[0]
        raise SourceNotFound(f"the artifact store failed: {detail:.300}") from error
    except ImportError as error:
        raise SourceNotFound(
            f"this kind of artifact store needs the package {error.name}, which is not installed"
        ) from error
    return Source(into, location.lineage, location.name, is_ours=True, left_behind=left)


def _in_place(location: Location, folder: Path) -> Source:
    if not folder.is_dir():
        raise SourceNotFound(
            f"the store keeps the files of {location.lineage.resolved_uri} in a folder that this "
            "machine does not have; run the export where it is, or serve artifacts over HTTP"
        )
    return Source(folder, location.lineage, location.name)


def _download(repository: Any, into: Path, progress: Progress, allowed: Allowed) -> tuple[str, ...]:
    """Fetch what is needed; returns the names of what is not."""
    there = sorted(_listed(repository, ""), key=lambda file: file.path)
    if not there:
        raise SourceNotFound("the artifact store holds no files there")
    os.environ[_OWN_BAR] = "false"
    into.mkdir(parents=True, exist_ok=True)
    for file in [file for file in there if file.path == MLMODEL]:
        _bring(repository, file, into)
    stays = _staying(into, [file.path for file in there], allowed)
    files = [file for file in there if _suffix(file.path) not in stays]
    if not files:
        raise SourceNotFound("the artifact store holds no files there")
    with progress.bar("download", sum(file.size_bytes for file in files)) as bar:
        for file in (file for file in files if file.path != MLMODEL):
            with bar.watch(into / file.path):
                _bring(repository, file, into)
    return tuple(file.path for file in there if _suffix(file.path) in stays)


def _staying(into: Path, names: Collection[str], allowed: Allowed) -> frozenset[str]:
    """The suffixes of what stays behind, which the flavor decides; its MLmodel is `into`."""
    if MLMODEL in names:
        is_pipeline = _is_pipeline(into)
    else:
        is_pipeline = "config.json" in names and "genai_config.json" not in names
    if not is_pipeline:
        return LEFT_BEHIND
    welcome = {".safetensors"} | (PICKLED_WEIGHTS if allowed.pickles else frozenset())
    welcome |= CODE if allowed.code else frozenset()
    return (LEFT_BEHIND | PICKLED_WEIGHTS | _OTHER_WEIGHTS) - welcome


def _is_pipeline(folder: Path) -> bool:
    """An MLmodel that cannot be read is a problem that the checks report."""
    try:
        described = mlmodel.read(folder)
    except InvalidModel:
        return False
    return described is not None and bool(described.transformers)


def _bring(repository: Any, file: _Remote, into: Path) -> None:
    repository.download_artifacts(file.path, str(into))
    _check(into / file.path, file)


def _check(path: Path, file: _Remote) -> None:
    """A connection that breaks may leave a part of the file without an error."""
    size = path.stat().st_size
    if file.size_bytes not in (0, size):
        raise SourceNotFound(
            f"the artifact store sent {size} of the {file.size_bytes} bytes of {file.path}"
        )


def _listed(repository: Any, folder: str) -> Iterator[_Remote]:
    for entry in repository.list_artifacts(folder or None):
        if entry.is_dir:
            yield from _listed(repository, entry.path)
        else:
            yield _Remote(entry.path, entry.file_size or 0)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
