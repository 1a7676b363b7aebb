"""From a URI to a pinned model and its lineage, in a real SQLite store."""

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from build import resolve as module
from build.address import parse
from build.errors import SourceNotFound, UsageError
from build.options import Stores
from build.source import local


def resolve(uri, stores):
    return module.resolve(uri, parse(uri), stores)


@pytest.fixture
def stores(sqlite_store):
    return Stores(sqlite_store.uri)


@pytest.fixture
def client(sqlite_store):
    return mlflow.MlflowClient(sqlite_store.uri)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Have what a look-up sets for MLflow's client undone."""
    for name in ("TIMEOUT", "MAX_RETRIES", "BACKOFF_FACTOR"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")


def refusal(uri, stores):
    with pytest.raises(SourceNotFound) as caught:
        resolve(uri, stores)
    return str(caught.value)


def check_lineage(lineage, store):
    assert lineage.model_id == store.chat_id
    assert lineage.run_id == store.run_id
    assert lineage.experiment_id == store.experiment_id
    assert lineage.experiment_name == "appliances"
    assert lineage.tags["team"] == "edge"
    assert lineage.tags["mlflow.runName"] == "shipped"


def test_by_version(sqlite_store, stores):
    found = resolve("models:/capitals/1", stores)
    check_lineage(found.lineage, sqlite_store)
    assert found.name == "capitals"
    assert found.lineage.model_name == "capitals"
    assert found.lineage.model_version == "1"
    assert found.lineage.alias == ""
    assert found.lineage.resolved_uri == "models:/capitals/1"
    assert found.lineage.tags["stage"] == "production"


def test_by_alias(sqlite_store, stores):
    lineage = resolve("models:/capitals@champion", stores).lineage
    check_lineage(lineage, sqlite_store)
    assert lineage.source_uri == "models:/capitals@champion"
    assert lineage.resolved_uri == "models:/capitals/1"
    assert (lineage.alias, lineage.model_version) == ("champion", "1")


@pytest.mark.parametrize(("number", "shown"), [("latest", "2"), ("2", "2"), ("002", "2")])
def test_latest_is_the_highest_number(stores, number, shown):
    lineage = resolve(f"models:/capitals/{number}", stores).lineage
    assert lineage.model_version == shown
    assert lineage.resolved_uri == f"models:/capitals/{shown}"
    assert "stage" not in lineage.tags


def test_an_alias_that_moves_is_pinned_where_it_was(stores, client):
    client.set_registered_model_alias("capitals", "moving", "1")
    before = resolve("models:/capitals@moving", stores)
    client.set_registered_model_alias("capitals", "moving", "2")
    after = resolve("models:/capitals@moving", stores)
    client.delete_registered_model_alias("capitals", "moving")
    assert (before.lineage.model_version, after.lineage.model_version) == ("1", "2")
    assert before.lineage.alias == after.lineage.alias == "moving"


def test_by_logged_model(sqlite_store, stores):
    found = resolve(f"models:/{sqlite_store.chat_id}", stores)
    check_lineage(found.lineage, sqlite_store)
    assert found.name == "chat"
    assert found.lineage.model_name == ""
    assert found.lineage.resolved_uri == f"models:/{sqlite_store.chat_id}"


def test_by_run(sqlite_store, stores):
    found = resolve(f"runs:/{sqlite_store.run_id}/chat", stores)
    check_lineage(found.lineage, sqlite_store)
    assert found.lineage.source_uri == f"runs:/{sqlite_store.run_id}/chat"
    assert found.lineage.resolved_uri == f"models:/{sqlite_store.chat_id}"


def test_artifacts_of_a_run_before_mlflow_3(sqlite_store, stores, client, tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {}")
    run = client.create_run(sqlite_store.experiment_id)
    client.log_artifact(run.info.run_id, str(tmp_path / "MLmodel"), "models/old")
    found = resolve(f"runs:/{run.info.run_id}/models/old", stores)
    assert found.uri == f"{run.info.artifact_uri}/models/old"
    assert found.lineage.run_id == run.info.run_id
    assert found.lineage.model_id == ""


def test_a_version_of_a_deleted_run_keeps_what_is_known(sqlite_store, stores, client):
    run = client.create_run(sqlite_store.experiment_id)
    source = f"{run.info.artifact_uri}/x"
    client.create_registered_model("orphans")
    client.create_model_version("orphans", source, run.info.run_id)
    client.delete_run(run.info.run_id)
    lineage = resolve("models:/orphans/1", stores).lineage
    assert lineage.run_id == run.info.run_id
    assert lineage.model_version == "1"


def test_no_paths_in_the_lineage(stores):
    for value in resolve("models:/capitals/1", stores).lineage.tags.values():
        assert not value.startswith("/")
    assert resolve("models:/capitals/1", stores).lineage.tags["data"] == "corpus.txt"


def test_a_local_folder_needs_no_store(tmp_path):
    (tmp_path / "model").mkdir()
    found = local(tmp_path / "model")
    assert found.lineage.source_uri == found.lineage.resolved_uri == found.name == "model"
    assert (found.folder, found.is_ours) == (tmp_path / "model", False)


def test_unknown_models(stores):
    told = refusal("models:/capitls/1", stores)
    assert "no model is registered as 'capitls'" in told
    assert "known models: capitals, comic" in told
    assert "did you mean 'capitals'?" in told


def test_unknown_aliases(stores):
    told = refusal("models:/capitals@champoin", stores)
    assert "model 'capitals' has no alias 'champoin'" in told
    assert "known aliases: champion (did you mean 'champion'?)" in told


def test_no_aliases_at_all(stores):
    assert refusal("models:/comic@prod", stores).endswith("there are no aliases")


def test_unknown_versions(stores):
    told = refusal("models:/capitals/7", stores)
    assert told == "model 'capitals' has no version 7; known versions: 1, 2"


def test_a_model_without_versions(stores, client):
    client.create_registered_model("empty")
    assert refusal("models:/empty/latest", stores).startswith("model 'empty' has no version; there")


def test_unknown_logged_models(stores):
    model_id = "m-" + "0" * 32
    assert refusal(f"models:/{model_id}", stores) == f"no logged model has the id {model_id!r}"


def test_unknown_runs_and_names(sqlite_store, stores):
    assert refusal("runs:/nope/chat", stores) == "no run has the id 'nope'"
    told = refusal(f"runs:/{sqlite_store.run_id}/chta", stores)
    assert "logged no model 'chta'; known models: chat (did you mean 'chat'?)" in told


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(SourceNotFound, match="neither a folder nor a model's URI"):
        local(tmp_path / "gone")


def test_malformed_uris_ask_nobody():
    with pytest.raises(UsageError):
        resolve("models:/x", Stores("http://127.0.0.1:1"))


def test_a_store_that_is_not_there_is_not_created(tmp_path):
    told = refusal("models:/x/1", Stores(f"sqlite:///{tmp_path}/none.db"))
    assert "there is no MLflow store at sqlite:///" in told
    assert "MLFLOW_TRACKING_URI" in told
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_no_database(tmp_path):
    (tmp_path / "text.db").write_text("not a database, though long enough to be looked at" * 20)
    told = refusal("models:/x/1", Stores(f"sqlite:///{tmp_path}/text.db"))
    assert told.startswith("MLflow at sqlite:///")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_a_server_out_of_reach(impatient):
    told = refusal("models:/x/1", Stores("http://me:secret@127.0.0.1:9", timeout_s=5))
    assert told == "MLflow at http://127.0.0.1:9 cannot be reached (--timeout 5)"


def test_a_server_that_never_answers(impatient, monkeypatch):
    import socket

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")  # the flag is stronger
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "cannot be reached" in refusal("models:/x/1", Stores(uri, timeout_s=1))


def test_artifact_uris_need_a_server(stores):
    told = refusal("mlflow-artifacts:/1/models/x", stores)
    assert "read through a tracking server" in told
    assert "--tracking-uri http://..." in told


def test_the_environment_names_the_store(sqlite_store, monkeypatch):
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: sqlite_store.uri)
    found = resolve("models:/capitals/1", Stores())
    assert found.stores.tracking_uri == found.stores.registry_uri == sqlite_store.uri
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:////elsewhere.db")
    assert module._settle(Stores()).registry_uri == "sqlite:////elsewhere.db"


def test_other_failures_are_not_hidden_as_absence(stores, monkeypatch):
    def fail(*args):
        raise MlflowException("the server is on fire at http://me:pw@host/x")

    monkeypatch.setattr(mlflow.MlflowClient, "get_registered_model", fail)
    told = refusal("models:/capitals/1", stores)
    assert told.endswith("the server is on fire at http://host/x")
    assert parse("models:/capitals/1").name == "capitals"
