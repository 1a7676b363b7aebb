"""`python -m build convert` from the registry to an appliance that answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from build import answers, interface
from tests.build.convert.conftest import SPAIN
from tests.build.pipeline_logging import Logged

pytestmark = pytest.mark.torch
# MLflow writes these into the environment of this process whenever a test calls it.
LEFT_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


@dataclass(frozen=True)
class Converted:
    """What `convert` printed, and the store with parent and child."""

    receipt: dict[str, Any]
    parent: Logged
    client: MlflowClient

    @property
    def version(self) -> Any:
        return self.client.get_model_version_by_alias("phi3-onnx", "champion")

    @property
    def run(self) -> Any:
        return self.client.get_run(self.receipt["run_id"])


def start(repository: Path, cwd: Path, store: str, *words: object) -> subprocess.Popen[str]:
    kept = {key: text for key, text in os.environ.items() if key not in LEFT_BY_MLFLOW}
    (cwd / "scratch").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "build", *map(str, words)],
        cwd=cwd,
        env=kept
        | {
            "PYTHONPATH": str(repository),
            "TMPDIR": str(cwd / "scratch"),
            "MLFLOW_TRACKING_URI": store,
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def converted(
    repository: Path,
    logged_pipeline: Logged,
    chats: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Converted:
    folder = tmp_path_factory.mktemp("converted")
    (folder / "chats.txt").write_text(chats)
    words = (logged_pipeline.model_uri, "--name", "phi3-onnx", "--register", "--alias", "champion")
    more = ("--tag", "team=edge", "--experiment", "conversions", "--questions", 40, "--json")
    text = ("--text", folder / "chats.txt", "--text-tokens", 128)
    process = start(repository, folder, logged_pipeline.uri, "convert", *words, *more, *text)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    assert list((folder / "scratch").iterdir()) == []
    client = MlflowClient(logged_pipeline.uri, logged_pipeline.uri)
    return Converted(json.loads(out), logged_pipeline, client)


@pytest.fixture(scope="module")
def bundle(
    repository: Path, converted: Converted, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    uri = "models:/phi3-onnx@champion"
    process = start(
        repository, folder, converted.parent.uri, "export", uri, "--out", folder / "out"
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return folder / "out"


def test_the_receipt_names_the_new_version(converted):
    receipt = converted.receipt
    assert receipt["version_uri"] == "models:/phi3-onnx/1"
    assert receipt["alias_uris"] == ["models:/phi3-onnx@champion"]
    assert converted.version.source == receipt["model_uri"]
    assert converted.version.run_id == receipt["run_id"]


def test_run_model_and_version_name_the_parent(converted):
    parent = converted.parent
    expected = {
        "phial.parent_uri": "models:/phi3-chat/1",
        "phial.parent_model": "phi3-chat",
        "phial.parent_version": "1",
        "phial.parent_alias": "champion",
        "phial.parent_model_id": parent.model_id,
        "phial.parent_run_id": parent.run_id,
        "source_run": parent.run_id,
        "phial.precision": "int4",
        "team": "edge",
    }
    model_id = converted.receipt["model_uri"].removeprefix("models:/")
    for tags in (
        converted.version.tags,
        converted.run.data.tags,
        converted.client.get_logged_model(model_id).tags,
    ):
        assert expected.items() <= tags.items()
    assert "made of models:/phi3-chat/1 as b128+embed+head in int4" in converted.version.description


def test_mlflow_knows_that_the_run_read_the_parent(converted):
    (read,) = converted.run.inputs.model_inputs
    assert read.model_id == converted.parent.model_id
    assert "mlflow.parentRunId" not in converted.run.data.tags


def test_the_run_holds_what_was_made_and_how_like_it_is(converted):
    data = converted.run.data
    assert data.params["variant"] == "b128+embed+head"
    assert (data.params["precision"], data.params["block_size"]) == ("int4", "128")
    figures = data.metrics
    assert figures["greedy_agreement"] > 0.95
    assert abs(figures["perplexity_loss"]) < 0.05
    assert figures["judged_tokens"] == 127
    assert figures["compared_answers"] == 8
    assert figures["tokenizer_agreement"] == 1
    assert figures["answer_agreement"] > 0.6
    assert figures["decode_tokens_per_second"] > 10
    assert converted.client.get_experiment(converted.run.info.experiment_id).name == "conversions"


def test_the_parent_s_defaults_are_in_the_model_config(converted):
    config = converted.receipt["model_config"]
    assert (config["max_tokens"], config["temperature"]) == (40, 0.0)
    assert config["prompt_format"] == "chat"


def test_it_is_the_pyfunc_that_log_makes(converted, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", converted.parent.uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(converted.parent.uri)
    try:
        model = mlflow.pyfunc.load_model("models:/phi3-onnx@champion", dst_path=str(tmp_path))
    finally:
        mlflow.set_tracking_uri(before)
    assert model.metadata.signature == interface.signature()
    assert model.predict({"prompt": [SPAIN]}) == ["The capital of Spain is Madrid."]


def test_it_is_the_model_in_the_box_and_answers_like_it(converted, bundle, demo_model):
    """The shipped model was made of these weights: what MLflow did to them on the way is
    nothing."""
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json", "chat_template.jinja"):
        assert (bundle / "model" / name).read_bytes() == (demo_model / name).read_bytes(), name
    shipped = answers.metrics(demo_model, 40)
    figures = converted.run.data.metrics
    assert {name: figures[name] for name in shipped} == shipped


def test_the_bundle_says_where_it_came_from(converted, bundle):
    lineage = json.loads((bundle / "manifest.json").read_text())["lineage"]
    assert lineage["resolved_uri"] == "models:/phi3-onnx/1"
    assert lineage["tags"]["phial.parent_uri"] == "models:/phi3-chat/1"
    assert lineage["tags"]["source_run"] == converted.parent.run_id


def test_the_appliance_answers(repository, bundle, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "edge", "--bundle", str(bundle), "--port", str(port)],
            cwd=repository,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        reply = _ask(f"http://127.0.0.1:{port}", server)
        assert reply["choices"][0]["message"]["content"] == "The capital of Spain is Madrid."
        assert reply["choices"][0]["finish_reason"] == "stop"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _ask(url: str, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The answer about Spain, without a setting: what the parent was logged with holds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).read()
        except OSError:
            time.sleep(0.1)
            continue
        body = json.dumps({"messages": [{"role": "user", "content": SPAIN}]}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
        return dict(json.load(urllib.request.urlopen(request, timeout=30)))
    pytest.fail("the appliance did not start")


def test_being_told_to_stop_leaves_nothing(repository, logged_pipeline, tmp_path):
    client = MlflowClient(logged_pipeline.uri, logged_pipeline.uri)
    before = _content(client)
    words = ("convert", logged_pipeline.model_uri, "--name", "stopped", "--register")
    process = start(repository, tmp_path, logged_pipeline.uri, *words)
    for line in process.stderr:
        if "reads and answers" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "convert: interrupted"
    assert list((tmp_path / "scratch").iterdir()) == []
    assert _content(client) == before


def _content(client: MlflowClient) -> tuple[set[str], set[str]]:
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = {run.info.run_id for run in client.search_runs(experiments)}
    return runs, {found.name for found in client.search_registered_models()}
