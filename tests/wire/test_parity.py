"""End to end: a logged model answers in MLflow as its bundle does in the appliance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from .conftest import Served

PROMPTS = (
    "What is the capital of Spain?",
    "Which country has the capital Oslo?",
    "tell me a joke about an atom",
    "how much is 3 plus 4",
    "Who are you?",
    "<|user|>\nWhat is the capital of Peru?<|end|>\n<|assistant|>\n",
    "<|system|>\nYou are a stand-up comedian.<|end|>\n<|user|>\nHi!<|end|>\n<|assistant|>\n",
    "日本 🎉 naïve",
    "x",
    "",
)
PARAMS = {"temperature": 0.0, "max_tokens": 24}


def _factory(*arguments: str, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        cwd=repository,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def store(demo_model: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sqlite store in which the demo model is registered as `parity`, alias `champion`."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    experiment = mlflow.MlflowClient(uri).create_experiment(
        "parity", artifact_location=(folder / "artifacts").as_uri()
    )
    assert experiment
    where = ("--tracking-uri", uri, "--experiment", "parity")
    named = ("--name", "parity", "--alias", "champion", "--no-measure", "--temperature", "0")
    _factory("log", str(demo_model), *named, *where, repository=repository)
    return uri


@pytest.fixture(scope="module")
def appliance(
    store: str,
    serve: Callable[..., Served],
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    """The exported bundle behind a socket."""
    out = tmp_path_factory.mktemp("export") / "bundle"
    where = ("--out", str(out), "--tracking-uri", store)
    _factory("export", "models:/parity@champion", *where, repository=repository)
    return serve("--bundle", str(out))


@pytest.fixture(scope="module")
def predicted(store: str) -> list[str]:
    """What plain MLflow answers."""
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    loaded = mlflow.pyfunc.load_model("models:/parity@champion")
    answers: list[str] = loaded.predict({"prompt": list(PROMPTS)}, params=PARAMS)
    return answers


def _post(served: Served, path: str, body: dict[str, Any]) -> Any:
    call = urllib.request.Request(
        served.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=120) as answer:
        return json.load(answer)


def test_invocations_equal_predict(appliance: Served, predicted: list[str]) -> None:
    rows = {"dataframe_records": [{"prompt": prompt} for prompt in PROMPTS], "params": PARAMS}
    assert _post(appliance, "/invocations", rows)["predictions"] == predicted
    assert any(predicted)


@pytest.mark.parametrize("place", range(5))
def test_chat_equals_predict(appliance: Served, predicted: list[str], place: int) -> None:
    body = {"messages": [{"role": "user", "content": PROMPTS[place]}], **PARAMS}
    choice = _post(appliance, "/v1/chat/completions", body)["choices"][0]
    assert choice["message"]["content"] == predicted[place]


def test_completion_of_a_templated_prompt_equals_predict(
    appliance: Served, predicted: list[str]
) -> None:
    body = {"prompt": PROMPTS[5], **PARAMS}
    assert _post(appliance, "/v1/completions", body)["choices"][0]["text"] == predicted[5]


def test_stop_strings_cut_alike(appliance: Served, store: str, predicted: list[str]) -> None:
    stop = predicted[0][3:6]
    params = {**PARAMS, "stop": [stop]}
    loaded = mlflow.pyfunc.load_model("models:/parity@champion")
    here = loaded.predict({"prompt": [PROMPTS[0]]}, params=params)
    there = _post(appliance, "/invocations", {"inputs": [PROMPTS[0]], "params": params})
    assert there["predictions"] == here == [predicted[0].split(stop)[0]]


def test_version_names_the_lineage(appliance: Served) -> None:
    with urllib.request.urlopen(f"{appliance.url}/v1/version", timeout=10) as answer:
        model = json.load(answer)["model"]
    assert (model["registered_name"], model["version"], model["alias"]) == (
        "parity",
        "1",
        "champion",
    )
    assert model["experiment"] == "parity"
    assert model["source_uri"] == "models:/parity@champion"
