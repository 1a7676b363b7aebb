"""Look-ups in an MLflow store whose failures name what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from build.errors import SourceNotFound

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SHOWN = 10
_ABSENT = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


def is_absent(error: MlflowException) -> bool:
    """Whether the store answered that there is no such thing."""
    return bool(error.error_code == _ABSENT)


class Catalogue:
    """Models, versions, aliases and runs of one store.

    Every method raises `SourceNotFound` for what is absent, and MLflow's own exception where the
    store fails.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def model(self, name: str) -> RegisteredModel:
        """The registered model `name`."""
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if not is_absent(error):
                raise
            names = [model.name for model in self._client.search_registered_models()]
            raise SourceNotFound(
                f"no model is registered as {name!r}; {_known('models', names, name)}"
            ) from error

    def version_of_alias(self, model: RegisteredModel, alias: str) -> str:
        """The version number that `alias` points to now."""
        aliases: dict[str, Any] = dict(model.aliases)
        if alias not in aliases:
            raise SourceNotFound(
                f"model {model.name!r} has no alias {alias!r}; {_known('aliases', aliases, alias)}"
            )
        return str(aliases[alias])

    def version(self, name: str, number: str) -> ModelVersion:
        """Version `number` of the model `name`, the highest where `number` is empty."""
        versions = {str(version.version): version for version in self._versions(name)}
        wanted = str(int(number)) if number else max(versions, key=int, default="")
        if wanted in versions:
            return versions[wanted]
        asked = f"no version {number}" if number else "no version"
        known = _known("versions", sorted(versions, key=int), "")
        raise SourceNotFound(f"model {name!r} has {asked}; {known}")

    def logged_model(self, model_id: str) -> LoggedModel:
        """The logged model `model_id`."""
        try:
            return self._client.get_logged_model(model_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
            raise SourceNotFound(f"no logged model has the id {model_id!r}") from error

    def run(self, run_id: str) -> Run:
        """The run `run_id`."""
        run = self.run_or_none(run_id)
        if run is None:
            raise SourceNotFound(f"no run has the id {run_id!r}")
        return run

    def run_or_none(self, run_id: str) -> Run | None:
        """The run `run_id`; None where it is gone or the id is empty."""
        try:
            return self._client.get_run(run_id) if run_id else None
        except MlflowException as error:
            if not is_absent(error):
                raise
            return None

    def model_of_run(self, run: Run, name: str) -> str:
        """The id of the newest model that `run` logged as `name`.

        Empty where the run keeps an artifact folder of that name instead (before MLflow 3).
        """
        logged = self._logged_by(run)
        mine = [model for model in logged if model.name == name]
        if mine:
            return str(max(mine, key=lambda model: model.creation_timestamp).model_id)
        run_id = run.info.run_id
        if self._client.list_artifacts(run_id, name):
            return ""
        known = _known("models", {model.name for model in logged}, name)
        raise SourceNotFound(f"run {run_id!r} logged no model {name!r}; {known}")

    def experiment_name(self, experiment_id: str) -> str:
        """The experiment's name; empty where it is gone or the id is empty."""
        try:
            return str(self._client.get_experiment(experiment_id).name) if experiment_id else ""
        except MlflowException as error:
            if not is_absent(error):
                raise
            return ""

    def _versions(self, name: str) -> Iterable[ModelVersion]:
        token: str | None = None
        while token != "":
            page = self._client.search_model_versions(f"name='{name}'", page_token=token)
            yield from page
            token = page.token or ""

    def _logged_by(self, run: Run) -> list[LoggedModel]:
        found: list[LoggedModel] = []
        token: str | None = None
        while token != "":
            page = self._client.search_logged_models([run.info.experiment_id], page_token=token)
            found += [model for model in page if model.source_run_id == run.info.run_id]
            token = page.token or ""
        return found


def _known(kind: str, names: Iterable[str], near: str) -> str:
    every = sorted(names) if near else list(names)
    if not every:
        return f"there are no {kind}"
    close = difflib.get_close_matches(near, every, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    shown = ", ".join(every[:_SHOWN]) + (", ..." if len(every) > _SHOWN else "")
    return f"known {kind}: {shown}{hint}"
