"""Finds the ONNX model among a model's artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from build import genai_config
from build.errors import InvalidModel
from build.genai_config import leaves
from build.mlmodel import Artifact, MlModel

_SHOWN = 8


def find(folder: Path, mlmodel: MlModel | None, wanted: str = "") -> Path:
    """The folder with the `genai_config.json` that is to be served.

    Of an MLflow model it is found by the `path` of the `python_function` flavor's artifacts
    (at it, or below it), of a bare folder by the folder itself. `wanted` picks one by its
    artifact key, or key and subfolder, where there are several. Raises `InvalidModel`.
    """
    if mlmodel is None:
        places = [("", folder)]
    else:
        places = [(item.key, _place(folder, item)) for item in mlmodel.artifacts]
    found = {label: path for key, place in places for label, path in _folders(key, place)}
    if wanted:
        return _pick(found, wanted)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InvalidModel(
            f"there are several ONNX models: {_some(sorted(found))}; say which with --artifact"
        )
    raise InvalidModel(_nothing(folder, mlmodel))


def _pick(found: dict[str, Path], wanted: str) -> Path:
    matching = [path for label, path in found.items() if label == wanted]
    below = [path for label, path in found.items() if label.startswith(f"{wanted}/")]
    if len(matching or below) == 1:
        return (matching or below)[0]
    raise InvalidModel(
        f"--artifact is {wanted!r}, expected one of: {_some(sorted(found)) or 'there is none'}"
    )


def _place(folder: Path, item: Artifact) -> Path:
    if not item.path or leaves(item.path):
        raise InvalidModel(
            f"MLmodel: the path of artifact {item.key!r} is {item.path!r}, expected a path inside "
            "the model's folder"
        )
    place = folder / item.path
    if not place.resolve().is_relative_to(folder.resolve()):
        raise InvalidModel(f"artifact {item.key!r} is a link that leaves the model's folder")
    return place


def _folders(key: str, place: Path) -> Iterator[tuple[str, Path]]:
    """Folders with a `genai_config.json` at or below `place`, labelled by key and subfolder."""
    for parent, folders, files in os.walk(place):
        folders.sort()
        if genai_config.NAME in files:
            below = Path(parent).relative_to(place).as_posix()
            yield (key if below == "." else f"{key}/{below}".strip("/")), Path(parent)


def _nothing(folder: Path, mlmodel: MlModel | None) -> str:
    """Why there is no ONNX model, said as helpfully as the files allow."""
    if mlmodel is None:
        return (
            f"the folder has neither MLmodel nor {genai_config.NAME}: it is no MLflow model and no "
            "onnxruntime-genai model"
        )
    if not mlmodel.artifacts:
        flavors = ", ".join(mlmodel.flavors)
        return (
            "the model has no artifact with an ONNX model in onnxruntime-genai's format; its "
            f"flavors are {flavors}"
        )
    return "; ".join(_contents(item, folder / item.path) for item in mlmodel.artifacts)


def _contents(item: Artifact, place: Path) -> str:
    if not place.exists():
        return f"artifact {item.key!r} ({item.path}) is missing from the model"
    names = sorted(path.name for path in place.iterdir()) if place.is_dir() else [place.name]
    return (
        f"artifact {item.key!r} is not an ONNX model in onnxruntime-genai's format: it has no "
        f"{genai_config.NAME}, but {_some(names) or 'nothing'}"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
