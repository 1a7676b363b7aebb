"""The `MLmodel` file of an MLflow model, read without importing or unpickling anything of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from build.errors import InvalidModel

MLMODEL = "MLmodel"
REQUIREMENTS = "requirements.txt"
INPUT_EXAMPLE = "input_example.json"
PYFUNC = "python_function"
TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An entry of `flavors.python_function.artifacts`.

    `path` is relative to the model's folder and is where the files lie; the entry's `uri` only
    says where they were when the model was logged, so it is not read.
    """

    key: str
    path: str


@dataclass(frozen=True, slots=True)
class MlModel:
    """What an `MLmodel` says.

    `pickle` is the name of the pickled Python class, `code` that of the model's source file
    (models from code); at most one is set. `signature` holds the JSON text of inputs, outputs
    and params under these keys. `config` is the `model_config` of the logging call, and
    `transformers` that flavor's own entry, empty where the model has another flavor.
    """

    flavors: tuple[str, ...]
    artifacts: tuple[Artifact, ...] = ()
    pickle: str = ""
    code: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    model_id: str = ""
    run_id: str = ""
    mlflow_version: str = ""
    requirements: tuple[str, ...] = ()
    transformers: Mapping[str, Any] = field(default_factory=dict)


def read(folder: Path) -> MlModel | None:
    """Read `folder/MLmodel`; None where there is none. Raises `InvalidModel`."""
    path = folder / MLMODEL
    if not path.is_file():
        return None
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{MLMODEL} is not YAML: {str(error).splitlines()[0]}") from error
    flavors = _mapping(_mapping(data).get("flavors"))
    if not flavors:
        raise InvalidModel(f"{MLMODEL} names no flavors")
    return _model(_mapping(data), flavors, _requirements(folder))


def _model(
    data: Mapping[str, Any], flavors: Mapping[str, Any], requirements: tuple[str, ...]
) -> MlModel:
    pyfunc = _mapping(flavors.get(PYFUNC))
    return MlModel(
        flavors=tuple(flavors),
        artifacts=_artifacts(_mapping(pyfunc.get("artifacts"))),
        pickle=str(pyfunc.get("python_model") or ""),
        code=str(pyfunc.get("model_code_path") or ""),
        signature=_mapping(data.get("signature")),
        config=_mapping(pyfunc.get("config")),
        metadata=_mapping(data.get("metadata")),
        model_id=str(data.get("model_id") or ""),
        run_id=str(data.get("run_id") or ""),
        mlflow_version=str(data.get("mlflow_version") or ""),
        requirements=requirements,
        transformers=_mapping(flavors.get(TRANSFORMERS)),
    )


def _artifacts(entries: Mapping[str, Any]) -> tuple[Artifact, ...]:
    return tuple(
        Artifact(str(key), str(_mapping(entry).get("path") or "")) for key, entry in entries.items()
    )


def _requirements(folder: Path) -> tuple[str, ...]:
    path = folder / REQUIREMENTS
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
