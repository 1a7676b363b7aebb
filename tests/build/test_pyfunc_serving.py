"""A logged model behind MLflow's own scoring server, `mlflow models serve`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build.pyfunc import OnnxChat

SPAIN = "What is the capital of Spain?"
FRANCE = "What is the capital of France?"
GREEDY = {"temperature": 0.0, "max_tokens": 48}
START_S = 180


def _environment(repository: Path, folder: Path) -> dict[str, str]:
    kept = {key: text for key, text in os.environ.items() if not key.startswith("MLFLOW_EXP")}
    return kept | {
        "PYTHONPATH": str(repository),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/ping", timeout=5).read()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the scoring server did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving")
    (folder / "home").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, demo_model: Path, place: Path) -> Iterator[str]:
    """The URL of a scoring server on `models:/served@champion`, logged by the factory."""
    environment = _environment(repository, place)
    log = [sys.executable, "-m", "build", "log", str(demo_model), "--name", "served"]
    log += ["--alias", "champion", "--no-measure"]
    subprocess.run(log, cwd=place, env=environment, check=True, timeout=300)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", "models:/served@champion", "--port", str(port), "--host", "127.0.0.1"]
    with (place / "log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=place,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(f"http://127.0.0.1:{port}", process, place / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def expected(demo_model: Path) -> list[str]:
    """The greedy answers of the model class itself."""
    from mlflow.pyfunc.model import PythonModelContext

    model = OnnxChat()
    model.load_context(PythonModelContext({"onnx": str(demo_model)}, {}))
    return model.predict(None, [SPAIN, FRANCE], GREEDY)


def post(url: str, body: Any, media: str = "application/json") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/invocations", data=data, headers={"Content-Type": media}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    "rows",
    [
        {"dataframe_split": {"columns": ["prompt"], "data": [[SPAIN], [FRANCE]]}},
        {"dataframe_records": [{"prompt": SPAIN}, {"prompt": FRANCE}]},
        {"instances": [{"prompt": SPAIN}, {"prompt": FRANCE}]},
        {"inputs": [{"prompt": SPAIN}, {"prompt": FRANCE}]},
        {"inputs": {"prompt": [SPAIN, FRANCE]}},
    ],
    ids=lambda rows: next(iter(rows)),
)
def test_every_row_of_every_format_is_answered(
    server: str, expected: list[str], rows: dict[str, Any]
) -> None:
    assert post(server, {**rows, "params": GREEDY}) == (200, {"predictions": expected})
    assert "Madrid" in expected[0]


def test_an_unwrapped_prompt_is_answered(server: str) -> None:
    status, answers = post(server, {"prompt": SPAIN})
    assert status == 200
    assert len(answers) == 1
    assert isinstance(answers[0], str)


def test_csv_is_answered(server: str) -> None:
    body = f"prompt\n{SPAIN}\n{FRANCE}\n".encode()
    status, reply = post(server, body, media="text/csv")
    assert status == 200
    assert len(reply["predictions"]) == 2


def test_params_are_honoured(server: str, expected: list[str]) -> None:
    rows = {"dataframe_split": {"columns": ["prompt"], "data": [[SPAIN]]}}
    _, short = post(server, {**rows, "params": {**GREEDY, "max_tokens": 2}})
    assert expected[0].startswith(short["predictions"][0])
    assert short["predictions"][0] != expected[0]
    _, cut = post(server, {**rows, "params": {**GREEDY, "stop": ["Madrid"]}})
    assert cut["predictions"] == [expected[0].partition("Madrid")[0]]
    wild = {"temperature": 2.0, "seed": 3, "max_tokens": 24}
    assert post(server, {**rows, "params": wild}) == post(server, {**rows, "params": wild})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataframe_records": [{"text": "x"}]}, "prompt"),
        (
            {"dataframe_records": [{"prompt": SPAIN}], "params": {"max_tokens": 0}},
            "max_tokens is 0",
        ),
        ({"dataframe_records": [{"prompt": "word " * 3000}]}, "context is 2048 tokens"),
    ],
)
def test_bad_input_is_a_400_that_says_why(server: str, body: Any, message: str) -> None:
    status, reply = post(server, body)
    assert status == 400
    assert message in reply["message"]


def test_nothing_is_written_at_home(server: str, place: Path) -> None:
    post(server, {"prompt": SPAIN})
    assert list((place / "home").rglob("*")) == []
