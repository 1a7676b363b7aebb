"""Registering: a version that is there whole, or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from build import record
from build.errors import BuildError
from build.options import Stores
from build.record import Entry


@pytest.fixture
def register(sqlite_store, demo_model, monkeypatch):
    """`register("alias", ...)` makes a version of the model `whole` with these aliases."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_store.uri)
    before = mlflow.get_tracking_uri()
    record.reach(Stores(sqlite_store.uri))
    info = SimpleNamespace(model_uri=f"models:/{sqlite_store.chat_id}")

    def run(*aliases: str) -> str:
        entry = Entry(demo_model, "whole", {}, {}, {}, {"team": "edge"}, "A text", aliases=aliases)
        return record._register(entry, info)

    yield run
    MlflowClient(sqlite_store.uri, sqlite_store.uri).delete_registered_model("whole")
    mlflow.set_tracking_uri(before)


@pytest.fixture
def client(sqlite_store):
    return MlflowClient(sqlite_store.uri, sqlite_store.uri)


def versions(client):
    return {int(found.version) for found in client.search_model_versions("name='whole'")}


def test_a_version_that_cannot_have_its_aliases_is_taken_back(register, client):
    first = register("champion", "prod")
    found = client.get_model_version_by_alias("whole", "champion")
    assert (str(found.version), found.description, found.tags) == (
        first,
        "A text",
        {"team": "edge"},
    )
    with pytest.raises(MlflowException):
        register("champion", "new", "not an alias!")
    assert versions(client) == {int(first)}
    aliases = client.get_registered_model("whole").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {
        "champion": first,
        "prod": first,
    }


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MlflowException("the store went away")])
def test_being_stopped_in_the_middle_leaves_no_version(register, client, monkeypatch, failure):
    first = register("champion")
    before = versions(client)

    def stop(self, name, alias, version):
        monkeypatch.undo()
        raise failure

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", stop)
    with pytest.raises((KeyboardInterrupt, MlflowException)):
        register("fresh")
    assert versions(client) == before
    assert client.get_registered_model("whole").aliases == {"champion": int(first)}


def test_a_store_that_fails_is_a_build_error(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    (tmp_path / "store.db").write_text("no database")
    before = mlflow.get_tracking_uri()
    try:
        with pytest.raises(BuildError, match=r"MLflow at sqlite:.*cannot be used"):
            record.reach(Stores(f"sqlite:///{tmp_path}/store.db"))
    finally:
        mlflow.set_tracking_uri(before)
