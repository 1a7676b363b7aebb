"""MLflow stores with models in them, and a factory command line to run on them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest

from build.findings import Findings
from tests.build.logging_styles import log_chat, log_notebook
from tests.build.pipeline_logging import demo_pipeline, demo_weights, logged_pipeline

__all__ = ["demo_pipeline", "demo_weights", "logged_pipeline"]


@dataclass(frozen=True)
class Store:
    """A store and the ids in it: `chat` is registered as capitals (twice), `notebook` as comic."""

    uri: str
    experiment_id: str
    run_id: str
    chat_id: str
    notebook_id: str


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture
def findings() -> Findings:
    return Findings()


@pytest.fixture
def onnx_folder(demo_model: Path, tmp_path: Path) -> Path:
    """A copy of the demo model that a test may spoil."""
    return Path(shutil.copytree(demo_model, tmp_path / "onnx"))


@pytest.fixture
def hf_folder(demo_weights: Path, tmp_path: Path) -> Path:
    """A copy of the demo model's torch weights that a test may spoil."""
    return Path(shutil.copytree(demo_weights, tmp_path / "hf"))


@pytest.fixture
def change() -> Callable[..., None]:
    """`change(path, key=value)` sets keys of a JSON file; None removes one."""

    def go(path: Path, **values: Any) -> None:
        data = json.loads(path.read_text()) if path.exists() else {}
        for key, value in values.items():
            data.pop(key, None) if value is None else data.update({key: value})
        path.write_text(json.dumps(data))

    return go


@pytest.fixture
def edit() -> Callable[..., None]:
    """`edit(folder, "model.type", "gpt9")` sets a key of genai_config.json; None removes it."""

    def change(folder: Path, place: str, value: Any) -> None:
        path = folder / "genai_config.json"
        data = json.loads(path.read_text())
        *sections, key = place.split(".")
        node = data
        for section in sections:
            node = node.setdefault(section, {})
        node.pop(key, None) if value is None else node.update({key: value})
        path.write_text(json.dumps(data))

    return change


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("export", uri, "--out", folder)` in this process."""
    from build.__main__ import main

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in argv])
        except SystemExit as error:
            status = int(str(error.code))
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def sqlite_store(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in an SQLite file, artifacts in a folder."""
    folder = tmp_path_factory.mktemp("store")
    return _fill(f"sqlite:///{folder}/mlflow.db", demo_model, artifacts=str(folder / "artifacts"))


@pytest.fixture(scope="session")
def http_store(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A real tracking server that also keeps the artifacts."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True
        )
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield _fill(f"http://127.0.0.1:{port}", demo_model)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the MLflow server did not start: {server.poll()}")


def _fill(uri: str, demo_model: Path, artifacts: str | None = None) -> Store:
    """Log one model from code and one the way of the 2024 notebook, and register both."""
    before = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        experiment_id = mlflow.create_experiment("appliances", artifact_location=artifacts)
        with mlflow.start_run(run_name="shipped", experiment_id=experiment_id) as run:
            mlflow.set_tags({"team": "edge", "data": "/home/somebody/corpus.txt"})
            chat = log_chat(demo_model)
        with mlflow.start_run(experiment_id=experiment_id):
            notebook = log_notebook(demo_model)
        client = mlflow.MlflowClient()
        mlflow.register_model(chat.model_uri, "capitals")
        client.set_registered_model_alias("capitals", "champion", "1")
        client.set_model_version_tag("capitals", "1", "stage", "production")
        return Store(uri, experiment_id, run.info.run_id, chat.model_id, notebook.model_id)
    finally:
        mlflow.set_tracking_uri(before[0])
        if before[1] is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
