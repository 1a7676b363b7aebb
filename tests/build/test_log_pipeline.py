"""`python -m build log-pipeline`, into a real store and with folders that are no good."""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking import fluent
from mlflow.transformers.llm_inference_utils import _SIGNATURE_FOR_LLM_INFERENCE_TASK as OF_TASK

from build import log_pipeline
from build.bundle import open_
from build.pipeline import loaded, record, trial
from tests.build.pipeline.tensor_files import read_tensors
from tests.build.pipeline_logging import SPAIN

pytestmark = pytest.mark.torch
NAMES = ("--name", "phi3-chat", "--register", "--alias", "champion", "--alias", "prod")
MORE = ("--experiment", "trials", "--run-name", "first", "--tag", "team=edge")
LEFT_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
CHAT = {"messages": [{"role": "user", "content": SPAIN}]}


class Place:
    """A folder with a store, and the command line on it."""

    def __init__(self, folder):
        self.folder, self.uri = folder, f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(self.uri, self.uri)

    def logged_folder(self, receipt):
        model_id = receipt["model_uri"].removeprefix("models:/")
        return Path(self.client.get_logged_model(model_id).artifact_location)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("logged"))


@pytest.fixture
def run(cli, place, monkeypatch):
    """`run(folder, *flags)` in the store's folder, where its artifacts go.

    MLflow keeps the store and the experiment for the process; both are put back.
    """
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    before = mlflow.get_tracking_uri(), {key: os.environ.get(key) for key in LEFT_BY_MLFLOW}
    yield lambda *flags: cli("log-pipeline", *flags, "--tracking-uri", place.uri)
    mlflow.set_tracking_uri(before[0])
    for key, text in before[1].items():
        os.environ.pop(key, None) if text is None else os.environ.update({key: text})


@pytest.fixture
def logged(run, place, demo_weights):
    """The receipt of the demo model, logged with its speed for the first test that asks."""
    kept = place.folder / "receipt.json"
    if not kept.exists():
        card = place.folder / "card.md"
        card.write_text("# A card beside the model\n")
        done = run(demo_weights, *NAMES, *MORE, "--card", card, "--json")
        assert done.status == 0, done.err
        kept.write_text(done.out.splitlines()[-1])
    return json.loads(kept.read_text())


def test_the_receipt_names_every_address(logged, place):
    assert logged["version_uri"] == "models:/phi3-chat/1"
    assert logged["alias_uris"] == ["models:/phi3-chat@champion", "models:/phi3-chat@prod"]
    found = place.client.get_model_version_by_alias("phi3-chat", "champion")
    assert found.source == logged["model_uri"]
    assert found.tags["team"] == "edge"
    assert found.tags["phial.task"] == "llm/v1/chat"
    assert found.tags["phial.transformers"] == version("transformers")
    assert found.description == "phi3, 4.2 M parameters, fp16, context 2048"
    assert place.client.get_run(logged["run_id"]).info.status == "FINISHED"


@pytest.mark.parametrize("task", ["llm/v1/chat", "llm/v1/completions"])
def test_the_signature_is_mlflows_own_field_by_field(logged, place, run, demo_weights, task):
    if task != "llm/v1/chat":
        flags = ("--name", "other", "--task", task, "--no-measure", "--json")
        logged = json.loads(run(demo_weights, *flags).out.splitlines()[-1])
    model = mlflow.models.Model.load(str(place.logged_folder(logged)))
    wanted = OF_TASK[task]
    for found, expected in (
        (model.signature.inputs, wanted.inputs),
        (model.signature.outputs, wanted.outputs),
    ):
        assert found.input_names() == expected.input_names()
        for one, other in zip(found.inputs, expected.inputs, strict=True):
            assert one.to_dict() == other.to_dict()
    assert model.signature == wanted
    assert model.metadata["task"] == task
    if task == "llm/v1/chat":
        names = {"messages", "temperature", "max_tokens", "stop", "n", "stream"}
        assert names <= set(model.signature.inputs.input_names())
        replies = ["id", "object", "created", "model", "choices", "usage"]
        assert model.signature.outputs.input_names()[:6] == replies


def test_the_run_holds_what_the_folder_says(logged, place, demo_weights):
    run = place.client.get_run(logged["run_id"])
    config = json.loads((demo_weights / "config.json").read_text())
    params = run.data.params
    assert params["context_length"] == str(config["max_position_embeddings"])
    assert params["vocab_size"] == str(config["vocab_size"])
    assert params["layers"] == str(config["num_hidden_layers"])
    assert (params["architecture"], params["precision"]) == ("Phi3ForCausalLM", "fp16")
    counted = sum(v.size for v in read_tensors(demo_weights / "model.safetensors").values())
    assert params["parameters"] == str(counted)
    size = (demo_weights / "model.safetensors").stat().st_size
    assert params["file_bytes/model.safetensors"] == str(size)
    assert (run.info.run_name, run.data.tags["team"]) == ("first", "edge")
    assert place.client.get_experiment(run.info.experiment_id).name == "trials"
    names = {item.path for item in place.client.list_artifacts(logged["run_id"])}
    assert {"config.json", "generation_config.json", "card.md"} <= names


def test_the_run_holds_the_speed_of_the_pipeline(logged, place):
    metrics = place.client.get_run(logged["run_id"]).data.metrics
    for name in ("load_seconds", "time_to_first_token_seconds"):
        assert 0 < metrics[name] < 60
    for name in ("prefill_tokens_per_second", "decode_tokens_per_second"):
        assert metrics[name] > 1
    assert (metrics["prompt_tokens"], metrics["new_tokens"]) == (128, 64)
    model_id = logged["model_uri"].removeprefix("models:/")
    of_model = place.client.get_logged_model(model_id).metrics
    assert {metric.key: metric.value for metric in of_model} == metrics


def test_the_model_is_plain_files(logged, place):
    folder = place.logged_folder(logged)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model/model.safetensors", "components/tokenizer/tokenizer.json"} <= names
    assert {"model_card.md", "input_example.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".bin", ".pt", ".py"))]
    lines = (folder / "requirements.txt").read_text().split()
    assert lines == record.requirements()
    assert f"transformers=={version('transformers')}" in lines
    assert not any("+" in line for line in lines)


def test_it_answers_by_its_alias_and_its_settings_are_said(logged, place):
    config = logged["model_config"]
    assert config == {
        "max_new_tokens": 300,
        "do_sample": True,
        "temperature": 0.2,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
    }
    greedy = {"do_sample": False, "max_new_tokens": 40}
    model = mlflow.pyfunc.load_model(str(place.logged_folder(logged)), model_config=greedy)
    (reply,) = model.predict(CHAT)
    assert "Madrid" in reply["choices"][0]["message"]["content"]
    assert reply["object"] == "chat.completion"


def test_what_was_logged_is_exported_with_the_same_settings(cli, logged, place, tmp_path):
    flags = ("--tracking-uri", place.uri, "--skip-trial", "--json")
    done = cli("export", "models:/phi3-chat@champion", "--out", tmp_path / "out", *flags)
    assert done.status == 0
    manifest = open_(tmp_path / "out", whole=True).manifest
    chosen = manifest.generation
    assert (chosen.max_tokens, chosen.temperature, chosen.top_p, chosen.top_k) == (300, 0.2, 1.0, 0)
    assert manifest.lineage.run_id == logged["run_id"]
    assert manifest.lineage.tags["team"] == "edge"
    assert done.json["shims"] == []


def test_flags_become_the_models_settings(run, demo_weights, place):
    flags = (
        "--max-tokens",
        7,
        "--temperature",
        0,
        "--repetition-penalty",
        1.3,
        "--no-measure",
        "--json",
    )
    done = run(demo_weights, "--name", "plain", "--task", "text-generation", *flags)
    receipt = json.loads(done.out.splitlines()[-1])
    assert receipt["model_config"] == {
        "max_new_tokens": 7,
        "do_sample": False,
        "repetition_penalty": 1.3,
        "return_full_text": False,
    }
    assert (receipt["metrics"], receipt["version_uri"]) == ({}, "")
    model = mlflow.pyfunc.load_model(str(place.logged_folder(receipt)))
    (answer,) = model.predict([SPAIN])
    assert SPAIN not in answer


def settings_of(folder, *flags):
    from build.__main__ import parser

    args = parser().parse_args(["log-pipeline", str(folder), "--name", "x", *flags])
    return log_pipeline._config(args)


def test_a_folder_that_asks_for_sampling_keeps_its_settings(demo_weights, tmp_path, change):
    folder = Path(shutil.copytree(demo_weights, tmp_path / "hf"))
    path = folder / "generation_config.json"
    change(path, do_sample=True, temperature=0.7, top_p=0.95, max_new_tokens=50)
    found = settings_of(folder)
    assert (found["temperature"], found["top_p"], found["max_new_tokens"]) == (0.7, 0.95, 50)
    assert settings_of(folder, "--temperature", "0")["do_sample"] is False
    change(path, do_sample=False)
    assert settings_of(folder)["do_sample"] is False
    assert "temperature" not in settings_of(folder)


def test_a_bad_folder_is_refused_with_every_problem_and_nothing_is_logged(
    cli, demo_weights, tmp_path, change
):
    folder = Path(shutil.copytree(demo_weights, tmp_path / "hf"))
    change(folder / "config.json", quantization_config={"quant_method": "awq"})
    (folder / "chat_template.jinja").unlink()
    (folder / "model.safetensors").unlink()
    store = f"sqlite:///{tmp_path}/mlflow.db"
    done = cli("log-pipeline", folder, "--name", "bad", "--register", "--tracking-uri", store)
    assert (done.status, done.out) == (1, "")
    problems = done.err.splitlines()
    assert all(problem.startswith("log-pipeline: ") for problem in problems)
    for part in ("quantized (awq)", "no chat template, which chats need", "has no weights"):
        assert any(part in problem for problem in problems), done.err
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("absent", "expected a folder"), ("empty", "is no Hugging Face folder")]
)
def test_what_is_no_model_folder_is_refused(cli, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    done = cli("log-pipeline", tmp_path / name, "--name", "x")
    assert (done.status, done.out) == (1, "")
    assert message in done.err


def test_without_torch_it_says_how_to_get_it(cli, demo_weights, monkeypatch):
    monkeypatch.setattr(trial, "find_spec", lambda name: None)
    done = cli("log-pipeline", demo_weights, "--name", "x")
    assert done.status == 1
    assert "needs torch and transformers, not installed here; scripts/install demo" in done.err


def test_what_transformers_does_not_load(demo_weights, tmp_path, change):
    from build.errors import InvalidModel

    folder = Path(shutil.copytree(demo_weights, tmp_path / "hf"))
    change(folder / "config.json", model_type="gpt9")
    with pytest.raises(InvalidModel, match="transformers does not load the model"):
        loaded.load(folder)


def test_the_trial_is_made_before_anything_is_logged(run, demo_weights, tmp_path, change, place):
    folder = Path(shutil.copytree(demo_weights, tmp_path / "hf"))
    change(folder / "config.json", num_hidden_layers=5)
    done = run(folder, "--name", "short")
    assert done.status == 1
    assert done.err.startswith("log-pipeline: weights are missing: model.layers.4."), done.err
    assert place.client.search_model_versions("name = 'short'") == []


def test_the_table_for_people(run, demo_weights):
    done = run(demo_weights, "--name", "said", "--no-measure")
    assert done.status == 0, done.err
    assert "phi3, 4.2 M parameters, fp16, context 2048" in done.out
    assert "not registered" in done.out
