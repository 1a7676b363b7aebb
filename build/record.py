"""Writes a model folder into MLflow: run, logged model, registered version, alias."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import RunInfo
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo
from sqlalchemy.exc import SQLAlchemyError

from build import interface, scrub
from build.errors import BuildError
from build.options import Stores

MODEL_CODE = Path(__file__).with_name("pyfunc.py")
ARTIFACT = "onnx"
PAPERS = (
    *("genai_config.json", "config.json", "generation_config.json"),
    *("README*", "MODEL_CARD*", "LICENSE*", "NOTICE*"),
)
NOT_IN_A_LOGGED_NAME = str.maketrans(dict.fromkeys("/:.%\"'", "-"))
RETRIES, BACKOFF_FACTOR = "2", "1"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be recorded about the model in `folder`.

    `config` is the `model_config`: the generation defaults and the prompt format. `params`,
    `metrics` and `tags` go to the run and to the logged model, `tags` to the version as well.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    params: Mapping[str, str | int]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    description: str = ""
    cards: tuple[Path, ...] = ()
    is_registered: bool = False
    aliases: tuple[str, ...] = ()
    experiment: str = ""
    run_name: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where the model now is; `version_uri`, `alias_uris` are empty where it is not registered.

    `run_url` is the run's page, empty where the store has none.
    """

    model_uri: str
    run_id: str
    experiment_id: str
    tracking_uri: str
    run_url: str
    version_uri: str = ""
    alias_uris: tuple[str, ...] = ()


Log = Callable[[Entry, str], ModelInfo]
"""Logs the model of an entry under a name, into the run that is active."""


def reach(stores: Stores) -> None:
    """Point MLflow at `stores` and ask for an answer; raises `BuildError` where none comes.

    An empty URI means the one of MLflow's own environment. Only this question is held to the
    timeout of `stores`: an upload may take longer.
    """
    with _asking(), _patience(stores.timeout_s):
        if stores.tracking_uri:
            mlflow.set_tracking_uri(stores.tracking_uri)
        if stores.registry_uri:
            mlflow.set_registry_uri(stores.registry_uri)
        MlflowClient().search_experiments(max_results=1)


def record(entry: Entry, log: Log | None = None) -> Receipt:
    """Log, register and name the model where `reach` pointed; raises `BuildError`.

    The model is logged by `log`, as a pyfunc around an ONNX folder where there is none.
    """
    with _asking():
        if entry.experiment and "MLFLOW_RUN_ID" not in os.environ:  # `mlflow run` has chosen both
            mlflow.set_experiment(entry.experiment)
        with mlflow.start_run(run_name=entry.run_name or None) as run:
            info = _log(entry, log or as_pyfunc)
        receipt = _receipt(run.info, info.model_uri)
        if not entry.is_registered:
            return receipt
        number = _register(entry, info)
        return replace(
            receipt,
            version_uri=f"models:/{entry.name}/{number}",
            alias_uris=tuple(f"models:/{entry.name}@{alias}" for alias in entry.aliases),
        )


def as_pyfunc(entry: Entry, name: str) -> ModelInfo:
    """Log an onnxruntime-genai folder as models from code."""
    info: ModelInfo = mlflow.pyfunc.log_model(
        name=name,
        python_model=str(MODEL_CODE),
        artifacts={ARTIFACT: str(entry.folder)},
        signature=interface.signature(),
        input_example=interface.example(),
        model_config=dict(entry.config),
        pip_requirements=interface.requirements(),
        params=dict(entry.params),
        tags=dict(entry.tags),
    )
    return info


def _log(entry: Entry, log: Log) -> ModelInfo:
    mlflow.log_params(dict(entry.params))
    mlflow.set_tags(dict(entry.tags))
    for path in _papers(entry):
        mlflow.log_artifact(str(path))
    info = log(entry, entry.name.translate(NOT_IN_A_LOGGED_NAME))
    mlflow.log_metrics(dict(entry.metrics), model_id=info.model_id)
    return info


def _papers(entry: Entry) -> list[Path]:
    """The configuration, the model card and the licence, for a look without a download."""
    found = {path for pattern in PAPERS for path in entry.folder.glob(pattern) if path.is_file()}
    return [*sorted(found), *entry.cards]


def _register(entry: Entry, info: ModelInfo) -> str:
    """The number of the new version."""
    registered = mlflow.register_model(info.model_uri, entry.name, tags=dict(entry.tags))
    client = MlflowClient()
    number = str(registered.version)
    client.update_model_version(entry.name, number, description=entry.description)
    for alias in entry.aliases:
        client.set_registered_model_alias(entry.name, alias, number)
    return number


def _receipt(run: RunInfo, model_uri: str) -> Receipt:
    tracking = scrub.text(str(mlflow.get_tracking_uri()))
    page = f"{tracking.rstrip('/')}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    return Receipt(
        model_uri=model_uri,
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        tracking_uri=tracking,
        run_url=page if tracking.startswith("http") else "",
    )


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Bound MLflow's patience, keep its chatter off standard output, wrap what it raises."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", BACKOFF_FACTOR)
    if not sys.stderr.isatty():
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except MlflowException as error:
        raise BuildError(f"{_where()}: {scrub.text(str(error))}") from error
    except (OSError, SQLAlchemyError) as error:
        reason = scrub.text(str(error)).splitlines()[0]
        raise BuildError(f"{_where()} cannot be used: {reason}") from error


@contextlib.contextmanager
def _patience(timeout_s: int) -> Iterator[None]:
    """Wait at most `timeout_s` for an answer, unless the environment says how long."""
    is_ours = TIMEOUT not in os.environ
    os.environ.setdefault(TIMEOUT, str(timeout_s))
    try:
        yield
    finally:
        if is_ours:
            del os.environ[TIMEOUT]


def _where() -> str:
    return f"MLflow at {scrub.text(str(mlflow.get_tracking_uri()))}"
