"""Exports through a real tracking server that keeps the artifacts."""

import mlflow
import pytest

from build import download
from build.address import Registered
from build.bundle import open_
from build.download import LEFT_BEHIND
from build.options import Stores
from build.progress import Progress
from build.resolve import resolve


@pytest.fixture
def stores(http_store):
    return Stores(http_store.uri)


@pytest.mark.parametrize(
    "form",
    [
        "models:/capitals/1",
        "models:/capitals@champion",
        "models:/{chat_id}",
        "runs:/{run_id}/chat",
        "mlflow-artifacts:/{experiment_id}/models/{chat_id}/artifacts",
    ],
)
def test_every_uri(cli, http_store, tmp_path, form):
    uri = form.format(
        chat_id=http_store.chat_id,
        run_id=http_store.run_id,
        experiment_id=http_store.experiment_id,
    )
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri, "--json", "--skip-trial")
    done = cli("export", uri, *argv)
    assert done.json["problems"] == []
    lineage = open_(tmp_path / "out", whole=True).manifest.lineage
    assert lineage.source_uri == uri
    assert lineage.model_id == http_store.chat_id
    assert lineage.run_id == http_store.run_id
    assert lineage.experiment_name == "appliances"
    assert lineage.tags["team"] == "edge"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_latest_and_its_trial(cli, http_store, tmp_path):
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri)
    done = cli("export", "models:/capitals/latest", *argv)
    assert done.status == 0, done.out
    assert open_(tmp_path / "out").manifest.lineage.model_version == "2"


def test_server_and_file_store_give_the_same_model(cli, http_store, demo_model, tmp_path):
    argv = ("--tracking-uri", http_store.uri, "--skip-trial", "--json")
    one = cli("export", "models:/capitals/1", "--out", tmp_path / "one", *argv).json
    two = cli("export", "models:/capitals/1", "--out", tmp_path / "two", *argv).json
    assert one["manifest_sha256"] == two["manifest_sha256"]
    cli("export", demo_model, "--out", tmp_path / "local", "--skip-trial")
    assert open_(tmp_path / "one").manifest.files == open_(tmp_path / "local").manifest.files


def test_the_notebooks_pickle_is_not_even_fetched(stores, tmp_path):
    location = resolve("models:/comic/1", Registered("comic", "1"), stores)
    source = download.fetch(location, tmp_path / "here", Progress(enabled=False))
    fetched = {path.name for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert source.is_ours
    assert {"MLmodel", "genai_config.json", "requirements.txt"} <= fetched
    assert "python_model.pkl" not in fetched
    there = {info.path for info in _listed(location.uri, stores)}
    assert "python_model.pkl" in there
    assert ".pkl" in LEFT_BEHIND


def _listed(uri, stores):
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri, tracking_uri=stores.tracking_uri).list_artifacts()


def test_the_notebooks_model(cli, http_store, tmp_path):
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri, "--json")
    done = cli("export", "models:/comic/1", *argv)
    assert done.status == 0
    assert any("was not opened" in shim for shim in done.json["shims"])
    assert open_(tmp_path / "out").manifest.lineage.model_name == "comic"


def test_refusals_name_what_there_is(cli, http_store, tmp_path):
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri, "--json")
    told = {
        "models:/capitls/1": "(did you mean 'capitals'?)",
        "models:/capitals@champ": "known aliases: champion",
        "models:/capitals/9": "known versions: 1, 2",
        f"runs:/{http_store.run_id}/x": "known models: chat",
        f"runs:/{'0' * 32}/x": "no run has the id",
        f"models:/m-{'0' * 32}": "no logged model has the id",
    }
    for uri, part in told.items():
        done = cli("export", uri, *argv)
        assert done.status == 1
        assert part in done.json["problems"][0]


@pytest.mark.parametrize("path", ["9/models/x", "no-such-folder"])
def test_artifacts_that_are_not_there(cli, http_store, tmp_path, path):
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri, "--json")
    done = cli("export", f"mlflow-artifacts:/{path}", *argv)
    assert done.status == 1
    assert "artifact store" in done.json["problems"][0]


def test_a_model_whose_artifacts_are_gone(cli, http_store, tmp_path):
    client = mlflow.MlflowClient(http_store.uri)
    run = client.create_run(http_store.experiment_id)
    client.create_registered_model("hollow")
    client.create_model_version("hollow", f"{run.info.artifact_uri}/model", run.info.run_id)
    argv = ("--out", tmp_path / "out", "--tracking-uri", http_store.uri, "--json")
    done = cli("export", "models:/hollow/1", *argv)
    assert "the artifact store" in done.json["problems"][0]
    assert list(tmp_path.iterdir()) == []
