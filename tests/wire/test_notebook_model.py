"""A model logged the way of the 2024 notebook, which loads nowhere any more, is served here."""

import json
import os
import subprocess
import sys
import urllib.request

import mlflow
import onnxruntime_genai as og
import pytest

from tests.build.logging_styles import EXAMPLE, log_notebook

NEW_TOKENS = 12


@pytest.fixture(scope="module")
def store(demo_model, tmp_path_factory):
    """An SQLite store with the model, registered as comic."""
    folder = tmp_path_factory.mktemp("notebook")
    uri = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.create_experiment("comics", artifact_location=str(folder / "artifacts"))
        with mlflow.start_run(experiment_id=experiment):
            log_notebook(demo_model)
    finally:
        mlflow.set_tracking_uri(before[0])
        if before[1] is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
    return uri


@pytest.fixture(scope="module")
def comic(serve, store, repository, tmp_path_factory):
    """The model, exported by the command line and served."""
    out = tmp_path_factory.mktemp("bundle") / "comic"
    command = [sys.executable, "-m", "build", "export", "models:/comic/latest", "--out", str(out)]
    command += ["--tracking-uri", store, "--max-tokens", "300", "--temperature", "0"]
    subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=120)
    return serve("--bundle", str(out))


def post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def greedy(folder, prompt):
    """What the runtime itself says, without server or export."""
    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)
    ids = tokenizer.encode(prompt)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(ids) + NEW_TOKENS, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(ids)
    while not generator.is_done():
        generator.generate_next_token()
    ends = set(tokenizer.eos_token_ids)
    decode = tokenizer.create_stream().decode
    new = generator.get_sequence(0)[len(ids) :]
    return "".join(decode(token) for token in new if token not in ends)


def test_it_does_not_load_as_it_was_logged(store):
    """The reason for it all: its `predict` fails on every present runtime."""
    client = mlflow.MlflowClient(store)
    version = client.search_model_versions("name='comic'")[0]
    model_id = version.source.rsplit("/", 1)[-1]
    model = mlflow.pyfunc.load_model(client.get_logged_model(model_id).artifact_location)
    with pytest.raises(AttributeError, match="input_ids"):
        model.predict(EXAMPLE)


def test_the_notebooks_own_request_is_answered(comic, demo_model):
    """The body that the notebook's documentation shows, prompt in template form and all."""
    body = {"inputs": [EXAMPLE], "params": {"max_tokens": NEW_TOKENS}}
    answer = post(f"{comic.url}/invocations", body)
    assert answer == {"predictions": [greedy(demo_model, EXAMPLE["prompt"])]}


def test_every_row_is_answered_now(comic):
    rows = [EXAMPLE, {"prompt": "Hello"}, EXAMPLE]
    body = {"dataframe_records": rows, "params": {"max_tokens": 4}}
    first, _, third = post(f"{comic.url}/invocations", body)["predictions"]
    assert first == third


def test_its_lineage_is_served(comic):
    with urllib.request.urlopen(f"{comic.url}/v1/version", timeout=10) as reply:
        model = json.load(reply)["model"]
    assert model["registered_name"] == model["name"] == "comic"
    assert model["source_uri"] == "models:/comic/latest"
    assert (model["version"], model["experiment"]) == ("1", "comics")
