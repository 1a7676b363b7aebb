"""A URI to the model that it names today: version pinned, lineage noted.

The only importer of MLflow's tracking client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from build import address, scrub
from build.address import LOGGED_MODEL_ID, Logged, OfRun, Registered, Remote, Stored
from build.catalogue import Catalogue
from build.errors import SourceNotFound
from build.options import Stores
from build.source import Location
from edge.bundle import Lineage

_RETRIES = "1"
_BACKOFF_FACTOR = "1"


def resolve(uri: str, target: Remote, stores: Stores) -> Location:
    """Find `target`, which is what `uri` names.

    Raises `SourceNotFound` where the store has no such model, version, alias or run (the known
    ones are listed), or does not answer in time.
    """
    stores = _settle(stores)
    with _asking(stores):
        found = _Search(stores).find(target)
    lineage = replace(found.lineage, source_uri=scrub.text(uri))
    return replace(found, lineage=lineage, stores=stores)


def _settle(stores: Stores) -> Stores:
    """Fill in what MLflow would take: its environment, or its default in the current folder."""
    tracking = stores.tracking_uri or str(mlflow.get_tracking_uri())
    registry = stores.registry_uri or os.environ.get("MLFLOW_REGISTRY_URI", "") or tracking
    return replace(stores, tracking_uri=tracking, registry_uri=registry)


class _Search:
    """The look-ups in one pair of stores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._client = MlflowClient(stores.tracking_uri, stores.registry_uri)
        self._known = Catalogue(self._client)

    def find(self, target: Remote) -> Location:
        match target:
            case Registered():
                return self._registered(target)
            case Logged():
                return self._logged(target.model_id)
            case OfRun():
                return self._of_run(target)
            case Stored():
                return self._stored(target.uri)

    def _registered(self, target: Registered) -> Location:
        model = self._known.model(target.name)
        version = self._pin(model, target)
        uri = self._client.get_model_version_download_uri(version.name, str(version.version))
        lineage = replace(
            self._lineage_of(version),
            resolved_uri=f"models:/{version.name}/{version.version}",
            model_name=version.name,
            model_version=str(version.version),
            alias=target.alias,
        )
        tags = scrub.tags({**lineage.tags, **dict(version.tags)})
        return Location(self._plain(uri), replace(lineage, tags=tags), version.name)

    def _lineage_of(self, version: ModelVersion) -> Lineage:
        """By the logged model behind the version, which its source names, else by its run."""
        match = LOGGED_MODEL_ID.search(version.source or "")
        found = self._logged_or_none(match[0]) if match else None
        return found.lineage if found else self._run_lineage(version.run_id or "", {})

    def _pin(self, model: RegisteredModel, target: Registered) -> ModelVersion:
        number = target.version
        if target.alias:
            number = self._known.version_of_alias(model, target.alias)
        return self._known.version(model.name, number)

    def _plain(self, uri: str) -> str:
        """A version's source may itself be a `models:/` or `runs:/` URI."""
        inner = address.parse(uri)
        return self.find(inner).uri if isinstance(inner, Logged | OfRun) else uri

    def _logged(self, model_id: str) -> Location:
        model = self._known.logged_model(model_id)
        tags = dict(model.tags)
        lineage = self._run_lineage(model.source_run_id or "", tags, model.experiment_id)
        lineage = replace(lineage, model_id=model_id, resolved_uri=f"models:/{model_id}")
        return Location(model.artifact_location, lineage, model.name)

    def _of_run(self, target: OfRun) -> Location:
        run = self._known.run(target.run_id)
        model_id = self._known.model_of_run(run, target.name)
        if model_id:
            return self._logged(model_id)
        lineage = self._run_lineage(target.run_id, {})
        lineage = replace(lineage, resolved_uri=f"runs:/{target.run_id}/{target.name}")
        return Location(f"{run.info.artifact_uri.rstrip('/')}/{target.name}", lineage, target.name)

    def _stored(self, uri: str) -> Location:
        tracking = self._stores.tracking_uri
        if uri.startswith("mlflow-artifacts:") and not tracking.startswith(("http:", "https:")):
            raise SourceNotFound(
                "mlflow-artifacts: is read through a tracking server, but the tracking URI is "
                f"{scrub.credentials(tracking)}; say --tracking-uri http://..."
            )
        match = LOGGED_MODEL_ID.search(uri)
        found = self._logged_or_none(match[0]) if match else None
        if found is not None:
            return replace(found, uri=uri)
        return Location(uri, Lineage(resolved_uri=scrub.text(uri)), uri.rsplit("/", 1)[-1])

    def _logged_or_none(self, model_id: str) -> Location | None:
        """None where another store's artifact is asked for, or the model was deleted."""
        try:
            return self._logged(model_id)
        except SourceNotFound:
            return None

    def _run_lineage(
        self, run_id: str, tags: Mapping[str, str], experiment_id: str = ""
    ) -> Lineage:
        """Run, experiment and tags, as far as they still exist in the store."""
        run = self._known.run_or_none(run_id)
        if run is not None:
            experiment_id = experiment_id or run.info.experiment_id
            tags = {**dict(run.data.tags), **tags}
        return Lineage(
            run_id=run_id,
            experiment_id=experiment_id,
            experiment_name=self._known.experiment_name(experiment_id),
            tags=scrub.tags(tags),
        )


@contextmanager
def _asking(stores: Stores) -> Iterator[None]:
    """Bound the patience of MLflow's HTTP client, and wrap what it raises."""
    _check_database(stores.tracking_uri)
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(stores.timeout_s)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", _BACKOFF_FACTOR)
    where = f"MLflow at {scrub.credentials(stores.tracking_uri)}"
    try:
        yield
    except MlflowException as error:
        if isinstance(error.__context__, requests.ConnectionError | requests.Timeout):
            raise SourceNotFound(
                f"{where} cannot be reached (--timeout {stores.timeout_s})"
            ) from error
        detail = scrub.credentials(str(error)).splitlines()[0]
        raise SourceNotFound(f"{where}: {detail:.300}") from error
    except SQLAlchemyError as error:
        raise SourceNotFound(f"{where}: the database cannot be read") from error


def _check_database(uri: str) -> None:
    """Refuse an SQLite store that is not there: MLflow would create an empty one."""
    if not uri.startswith("sqlite:"):
        return
    database = make_url(uri).database
    if database and not Path(database).is_file():
        raise SourceNotFound(
            f"there is no MLflow store at {scrub.credentials(uri)}; set MLFLOW_TRACKING_URI or say "
            "--tracking-uri"
        )
