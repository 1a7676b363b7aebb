"""MLflow's own scoring server, a real process, and the appliance: the same requests to both.

The installed MLflow may be of another release than the recorded cases; what differs on purpose is
named below and in docs/api.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.wire import scoring_corpus, scoring_corpus_raw
from tests.wire.conftest import Served, free_port
from tests.wire.exchange import Call, Reply, send

LOAD_S = 50.0
MODELS = ("echo", "echo_params")
CORPUS = [
    *scoring_corpus.tables(),
    *scoring_corpus.params(),
    *scoring_corpus.texts(),
    *scoring_corpus_raw.json_texts(),
    *scoring_corpus_raw.csv_texts(),
    *scoring_corpus_raw.exchanges(),
]
SOURCE = """
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        prompts = list(model_input["prompt"])
        if params:
            return [f"{prompt}|{sorted(params.items())}" for prompt in prompts]
        if "boom" in prompts:
            raise RuntimeError("boom")
        return prompts

mlflow.models.set_model(Echo())
"""
SAVE = """
import sys
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

source, folder, with_params = sys.argv[1:]
params = ParamSchema([
    ParamSpec("max_tokens", "long", 16),
    ParamSpec("temperature", "double", 0.0),
    ParamSpec("stop", "string", ["<end>"], shape=(-1,)),
])
signature = ModelSignature(
    inputs=Schema([ColSpec("string", "prompt", required=True)]),
    outputs=Schema([ColSpec("string")]),
    params=params if with_params == "yes" else None,
)
mlflow.pyfunc.save_model(
    folder, python_model=source, signature=signature, pip_requirements=["mlflow"]
)
"""


@pytest.fixture(scope="module")
def mlflow_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Both models under MLflow's server: the command that `mlflow models serve` runs."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "model.py").write_text(SOURCE)
    servers = [_serve_mlflow(folder, model) for model in MODELS]
    try:
        for process, port in servers:
            _wait_for(process, port)
        yield {model: port for model, (_, port) in zip(MODELS, servers, strict=True)}
    finally:
        for process, _ in servers:
            process.terminate()
        for process, _ in servers:
            process.wait(20)


def _serve_mlflow(folder: Path, model: str) -> tuple[subprocess.Popen[bytes], int]:
    with_params = "yes" if model == "echo_params" else "no"
    saved = folder / model
    command = [sys.executable, "-c", SAVE, str(folder / "model.py"), str(saved), with_params]
    subprocess.run(command, cwd=folder, check=True, timeout=LOAD_S, capture_output=True)
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "--port", str(port), "--host", "127.0.0.1"),
            "mlflow.pyfunc.scoring_server.app:app",
        ],
        cwd=folder,
        env={**os.environ, "__pyfunc_model_path__": str(saved)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return process, port


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + LOAD_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "MLflow's server ended"
        try:
            if send(port, Call("ping", method="GET", path="/ping")).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"MLflow's server did not answer within {LOAD_S} s")


@pytest.fixture(scope="module")
def replies(
    mlflow_ports: dict[str, int], echo: Served, echo_params: Served
) -> dict[str, tuple[Call, Reply, Reply]]:
    """(call, MLflow's reply, ours) of the whole corpus, by the id of the call."""
    ports = {"echo": echo.port, "echo_params": echo_params.port}

    def ask(call: Call) -> tuple[Call, Reply, Reply]:
        return call, send(mlflow_ports[call.model], call), send(ports[call.model], call)

    with ThreadPoolExecutor(4) as pool:
        return {result[0].id: result for result in pool.map(ask, CORPUS)}


def is_same(theirs: Reply, ours: Reply) -> bool:
    if (theirs.status, theirs.content_type) != (ours.status, ours.content_type):
        return False
    if theirs.status == 200:
        return theirs.body == ours.body
    return theirs.error_code == ours.error_code


def not_text(call: Call, theirs: Reply, ours: Reply) -> bool:
    """A prompt that is no string: MLflow answers 200, here it is refused."""
    refused = ours.status == 400 and b"expected a string" in ours.body
    return theirs.status == 200 and refused and holds_other_than_text(call, theirs)


def holds_other_than_text(call: Call, theirs: Reply) -> bool:
    """Whether MLflow's prediction is no string, or was made of a value that is none."""
    data = json.loads(theirs.body)
    predictions = data["predictions"] if isinstance(data, dict) else data
    if not all(isinstance(item, str) for item in predictions):
        return True
    if call.content_type == "text/csv":
        return any(item.startswith("nan|") for item in predictions)
    body = json.loads(call.body or b"")
    asked = [body.get("prompt", ""), *of(body.get("inputs")), *of(body.get("instances"))]
    return not all(isinstance(prompt, str) for prompt in asked)


def of(value: object) -> list[object]:
    """The prompts among the cells, rows or columns of `value`."""
    if isinstance(value, dict):
        cells = value.get("prompt", "")
        return cells if isinstance(cells, list) else [cells]
    rows = value if isinstance(value, list) else []
    return [row.get("prompt", "") if isinstance(row, dict) else row for row in rows]


def missing_media_type(call: Call, theirs: Reply, ours: Reply) -> bool:
    """MLflow answers 500."""
    return call.content_type is None and (theirs.status, ours.status) == (500, 415)


def parquet(call: Call, theirs: Reply, ours: Reply) -> bool:
    """There is no pyarrow here."""
    return str(call.content_type).endswith(".parquet") and ours.status == 415


def model_error(call: Call, theirs: Reply, ours: Reply) -> bool:
    """A failing model is no fault of the request."""
    codes = (theirs.error_code, ours.error_code)
    return b"boom" in (call.body or b"") and codes == ("BAD_REQUEST", "INTERNAL_ERROR")


def unhashable_label(call: Call, theirs: Reply, ours: Reply) -> bool:
    """pandas cannot take objects and mixed lists for column labels: MLflow answers 500."""
    return b'"columns"' in (call.body or b"") and ours.status == 400 and theirs.status >= 400


def irregular_param(call: Call, theirs: Reply, ours: Reply) -> bool:
    """An irregular nested list for `stop`: the same status under another code."""
    return b'"stop"' in (call.body or b"") and (theirs.status, ours.status) == (400, 400)


def irregular_index(call: Call, theirs: Reply, ours: Reply) -> bool:
    """The levels of a multi-index are not checked here: the index is not used."""
    return b'"index": [[' in (call.body or b"") and (theirs.status, ours.status) == (400, 200)


def release(call: Call, theirs: Reply, ours: Reply) -> bool:
    """The protocol's release here, the installed MLflow's there."""
    return call.path == "/version" and theirs.status == ours.status == 200


def surrogate(call: Call, theirs: Reply, ours: Reply) -> bool:
    """A lone surrogate: how far it gets with MLflow depends on the release of pandas."""
    return b"lone surrogate" in ours.body and ours.status == 400


DIFFERENCES = (
    *(not_text, missing_media_type, parquet, model_error, unhashable_label, irregular_param),
    *(irregular_index, release, surrogate),
)


def test_every_reply_is_mlflows_or_differs_on_purpose(
    replies: dict[str, tuple[Call, Reply, Reply]],
) -> None:
    assert len(replies) == len(CORPUS) > 1000
    surprises = [
        f"{name}\n  MLflow: {theirs.status} {theirs.body!r}\n  here: {ours.status} {ours.body!r}"
        for name, (call, theirs, ours) in replies.items()
        if not is_same(theirs, ours) and not any(why(call, theirs, ours) for why in DIFFERENCES)
    ]
    assert not surprises, "\n".join(surprises)


@pytest.mark.parametrize("why", DIFFERENCES, ids=lambda why: why.__name__)
def test_every_named_difference_is_met(
    replies: dict[str, tuple[Call, Reply, Reply]], why: object
) -> None:
    assert callable(why)
    assert any(why(*reply) for reply in replies.values() if not is_same(*reply[1:]))


def test_most_answers_are_the_same(replies: dict[str, tuple[Call, Reply, Reply]]) -> None:
    same = [is_same(theirs, ours) for _, theirs, ours in replies.values()]
    assert sum(same) > 0.75 * len(same)
