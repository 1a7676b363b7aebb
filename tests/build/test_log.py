"""`python -m build log` into a default store, over HTTP, and with folders that are no good."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from build import interface

SPAIN = {"prompt": ["What is the capital of Spain?"]}
FLAGS = ("--name", "phi3.5", "--register", "--alias", "champion", "--alias", "prod")
MORE = ("--experiment", "trials", "--run-name", "first", "--tag", "team=edge", "--questions", "40")
# MLflow writes these into the environment of this process whenever a test calls it.
LEFT_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


@dataclass(frozen=True)
class Logged:
    """What `log` printed, and a client of the store it wrote to."""

    receipt: dict[str, Any]
    client: MlflowClient
    uri: str
    folder: Path

    @property
    def model(self) -> Any:
        return self.client.get_model_version_by_alias("phi3.5", "champion")


def run_log(
    repository: Path, cwd: Path, *flags: str, store: str = "", status: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = {key: text for key, text in os.environ.items() if key not in LEFT_BY_MLFLOW}
    environment |= {"PYTHONPATH": str(repository), "TMPDIR": str(cwd)}
    environment |= {"MLFLOW_TRACKING_URI": store} if store else {}
    done = subprocess.run(
        [sys.executable, "-m", "build", "log", *flags],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done


def _logged(repository: Path, model: Path, folder: Path, store: str) -> Logged:
    card = folder / "card.md"
    card.write_text("# A card beside the model\n")
    done = run_log(
        repository, folder, str(model), *FLAGS, *MORE, "--card", str(card), "--json", store=store
    )
    uri = store or f"sqlite:///{folder}/mlflow.db"
    return Logged(json.loads(done.stdout), MlflowClient(uri, uri), uri, folder)


@pytest.fixture(scope="module")
def in_default_store(
    repository: Path, demo_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Logged:
    return _logged(repository, demo_model, tmp_path_factory.mktemp("default"), "")


@pytest.fixture(scope="module")
def over_http(
    repository: Path, demo_model: Path, tmp_path_factory: pytest.TempPathFactory, http_store: Any
) -> Logged:
    return _logged(repository, demo_model, tmp_path_factory.mktemp("http"), http_store.uri)


@pytest.fixture(params=["in_default_store", "over_http"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """The same model in either store; this process asks that store too, and then no longer."""
    found: Logged = request.getfixturevalue(request.param)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(found.uri)
    yield found
    mlflow.set_tracking_uri(before)


def test_the_receipt_names_every_address(logged: Logged) -> None:
    receipt = logged.receipt
    assert receipt["name"] == "phi3.5"
    assert receipt["version_uri"] == f"models:/phi3.5/{logged.model.version}"
    assert receipt["alias_uris"] == ["models:/phi3.5@champion", "models:/phi3.5@prod"]
    assert receipt["model_uri"] == logged.model.source
    assert logged.client.get_run(receipt["run_id"]).info.status == "FINISHED"
    if logged.uri.startswith("http"):
        assert receipt["run_url"].startswith(logged.uri)
        assert receipt["run_url"].endswith(f"/runs/{receipt['run_id']}")
    else:
        assert receipt["run_url"] == ""


def test_the_version_has_tags_aliases_and_a_description(logged: Logged) -> None:
    found = logged.model
    assert logged.client.get_model_version_by_alias("phi3.5", "prod").version == found.version
    assert found.tags["team"] == "edge"
    assert found.tags["phial.precision"] == "int4"
    assert found.tags["phial.onnxruntime_genai"] == version("onnxruntime-genai")
    assert "phi3" in found.description
    assert "M parameters, int4 in blocks of 128, context 2048" in found.description


def test_the_run_holds_what_the_folder_says(logged: Logged, demo_model: Path) -> None:
    run = logged.client.get_run(logged.receipt["run_id"])
    config = json.loads((demo_model / "genai_config.json").read_text())["model"]
    params = run.data.params
    assert params["context_length"] == str(config["context_length"])
    assert params["vocab_size"] == str(config["vocab_size"])
    assert params["layers"] == str(config["decoder"]["num_hidden_layers"])
    assert (params["precision"], params["block_size"]) == ("int4", "128")
    assert 1_000_000 < int(params["parameters"]) < 6_500_000
    for path in demo_model.glob("model.onnx*"):
        assert params[f"file_bytes/{path.name}"] == str(path.stat().st_size)
    assert run.info.run_name == "first"
    assert run.data.tags["team"] == "edge"
    experiment = logged.client.get_experiment(run.info.experiment_id)
    assert experiment.name == "trials"


def test_the_run_holds_speed_and_answer_rate(logged: Logged) -> None:
    metrics = logged.client.get_run(logged.receipt["run_id"]).data.metrics
    for name in ("load_seconds", "time_to_first_token_seconds"):
        assert 0 < metrics[name] < 60
    for name in ("prefill_tokens_per_second", "decode_tokens_per_second"):
        assert metrics[name] > 10
    assert metrics["questions"] == 40
    assert 0.5 < metrics["answer_rate"] <= 1
    assert metrics["answer_rate/capital_trained"] > 0.5
    model_id = logged.receipt["model_uri"].removeprefix("models:/")
    of_model = logged.client.get_logged_model(model_id).metrics
    assert {m.key: m.value for m in of_model} == metrics


def test_the_run_keeps_config_and_card(logged: Logged) -> None:
    names = {item.path for item in logged.client.list_artifacts(logged.receipt["run_id"])}
    assert {"genai_config.json", "card.md"} <= names


def test_the_model_is_code_and_plain_files(logged: Logged, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts("models:/phi3.5@champion", dst_path=tmp_path))
    names = {path.name for path in folder.rglob("*")}
    assert {"MLmodel", "pyfunc.py", "genai_config.json", "model.onnx", "requirements.txt"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle"))]
    lines = (folder / "requirements.txt").read_text().split()
    assert lines == interface.requirements()
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert example["dataframe_split"] == {"columns": ["prompt"], "data": [SPAIN["prompt"]]}
    assert set(example["params"]) == {"max_tokens", "temperature"}


def test_it_loads_and_answers_by_its_alias(logged: Logged, tmp_path: Path) -> None:
    model = mlflow.pyfunc.load_model("models:/phi3.5@champion", dst_path=str(tmp_path))
    assert model.metadata.signature == interface.signature()
    answers = model.predict(
        {"prompt": ["What is the capital of Spain?", "What is the capital of France?"]},
        params={"temperature": 0.0, "max_tokens": 48},
    )
    assert ["Madrid" in answers[0], "Paris" in answers[1]] == [True, True]
    pieces = model.predict_stream(
        {"prompt": "What is the capital of Spain?"}, params={"temperature": 0.0}
    )
    assert "".join(pieces) == answers[0]
    with pytest.raises(mlflow.MlflowException, match="max_tokens is 0, expected a whole number"):
        model.predict(SPAIN, params={"max_tokens": 0})


def test_its_defaults_are_the_notebook_s_and_can_be_changed_on_loading(
    logged: Logged, tmp_path: Path
) -> None:
    config = logged.receipt["model_config"]
    assert (config["max_tokens"], config["temperature"]) == (300, 0.2)
    greedy = mlflow.pyfunc.load_model(
        "models:/phi3.5@champion",
        dst_path=str(tmp_path),
        model_config={"temperature": 0.0, "max_tokens": 3},
    )
    whole = greedy.predict(SPAIN, params={"max_tokens": 48})[0]
    short = greedy.predict(SPAIN)[0]
    assert "Madrid" in whole
    assert whole.startswith(short)
    assert short != whole


def test_an_operator_can_change_defaults_by_environment(
    in_default_store: Logged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = in_default_store.uri
    folder = (
        MlflowClient(uri)
        .get_logged_model(in_default_store.receipt["model_uri"].removeprefix("models:/"))
        .artifact_location
    )
    monkeypatch.setenv("MLFLOW_PYFUNC_INFERENCE_CONFIG", '{"temperature": 0, "max_tokens": 2}')
    operated = mlflow.pyfunc.load_model(folder, dst_path=str(tmp_path))
    answer = operated.predict(SPAIN, params={"max_tokens": 48})[0]
    assert "Madrid" in answer
    assert answer.startswith(operated.predict(SPAIN)[0])
    assert operated.predict(SPAIN)[0] != answer


def test_the_default_store_lies_where_the_command_ran(in_default_store: Logged) -> None:
    assert (in_default_store.folder / "mlflow.db").is_file()
    assert in_default_store.receipt["tracking_uri"].endswith("mlflow.db")


def test_a_second_version_takes_the_alias(
    repository: Path, demo_model: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        flags = ("--name", "twice", "--alias", "champion", "--no-measure")
        done = run_log(repository, tmp_path, str(demo_model), *flags)
    assert "models:/twice/2" in done.stdout
    assert "models:/twice@champion" in done.stdout
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_model_version_by_alias("twice", "champion").version == 2
    run = client.get_run(client.get_model_version("twice", "2").run_id)
    assert run.data.metrics == {}


def test_flags_become_the_model_s_defaults(
    repository: Path, demo_model: Path, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path}/elsewhere.db"
    flags = ("--max-tokens", "7", "--temperature", "0", "--top-k", "3", "--stop", "###")
    done = run_log(
        repository,
        tmp_path,
        str(demo_model),
        *("--name", "plain", "--tracking-uri", store, "--prompt-format", "chat", "--seed", "5"),
        *(*flags, "--no-measure", "--json", "--description", "For a test"),
    )
    receipt = json.loads(done.stdout)
    assert receipt["model_config"] == {
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 3,
        "repetition_penalty": 1.0,
        "stop": ["###"],
        "seed": 5,
        "prompt_format": "chat",
    }
    assert receipt["version_uri"] == ""
    assert MlflowClient(store).search_registered_models() == []
    assert not (tmp_path / "mlflow.db").exists()


def test_a_folder_that_asks_for_sampling_keeps_its_settings(
    repository: Path, demo_model: Path, tmp_path: Path, edit: Callable[..., None]
) -> None:
    folder = Path(shutil.copytree(demo_model, tmp_path / "sampling"))
    edit(folder, "search.do_sample", True)
    edit(folder, "search.temperature", 0.7)
    edit(folder, "search.top_p", 0.95)
    edit(folder, "search.repetition_penalty", 1.1)
    done = run_log(repository, tmp_path, str(folder), "--name", "warm", "--no-measure", "--json")
    config = json.loads(done.stdout)["model_config"]
    chosen = (config["temperature"], config["top_p"], config["repetition_penalty"])
    assert chosen == (0.7, 0.95, 1.1)


def test_a_bad_folder_is_refused_with_every_problem_and_nothing_is_logged(
    repository: Path, demo_model: Path, tmp_path: Path, edit: Callable[..., None]
) -> None:
    folder = Path(shutil.copytree(demo_model, tmp_path / "bad"))
    (folder / "model.onnx.data").unlink()
    (folder / "tokenizer.json").write_text("{")
    edit(folder, "model.type", "gpt9")
    done = run_log(repository, tmp_path, str(folder), "--name", "bad", "--register", status=1)
    assert done.stdout == ""
    problems = done.stderr.splitlines()
    assert all(problem.startswith("log: ") for problem in problems)
    for part in ("model.type is 'gpt9'", "model.onnx.data", "tokenizer"):
        assert any(part in problem for problem in problems), done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "expected a folder"), ("empty", "has no genai_config.json")],
)
def test_what_is_no_model_folder_is_refused(
    cli: Callable[..., Any], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    outcome = cli("log", tmp_path / name, "--name", "x")
    assert (outcome.status, outcome.out) == (1, "")
    assert message in outcome.err


def test_a_store_that_is_away_is_an_error_and_soon(
    repository: Path, demo_model: Path, tmp_path: Path
) -> None:
    store = "http://someone:secret@127.0.0.1:9"
    flags = ("--name", "x", "--tracking-uri", store)
    done = run_log(repository, tmp_path, str(demo_model), *flags, status=1)
    assert done.stderr.startswith("log: MLflow at http://127.0.0.1:9")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_fails_midway_leaves_a_failed_run(
    repository: Path, demo_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "mlruns").write_text("not a folder, so artifacts cannot be kept")
    flags = ("--name", "x", "--register", "--no-measure")
    done = run_log(repository, tmp_path, str(demo_model), *flags, status=1)
    assert "Traceback" not in done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs(["0"])
    assert [run.info.status for run in runs] == ["FAILED"]
    assert client.search_registered_models() == []
