"""MLflow's server of the transformers flavor, and the appliance with bundles of the same weights.

Both sides compute in float32 on the weights of the model in the box.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.wire.conftest import Serve, Served, free_port
from tests.wire.exchange import Call, Reply, send
from tests.wire.pipeline.chats import Body

START_S = 150.0
JSON = "application/json"
MODELS = ("chat", "completions", "text")


@dataclass(frozen=True)
class Sides:
    """Both servers. A model goes by the name of its signature's kind: chat, completions, text."""

    mlflow: int
    served: Mapping[str, Served]
    predicted: list[Body]
    generated: list[Body]

    def theirs(self, model: str, body: object, content_type: str = JSON) -> Reply:
        """MLflow's reply."""
        path = f"/{model}/invocations"
        return send(self.mlflow, Call("", _raw(body), path=path, content_type=content_type))

    def ours(self, model: str, body: object, content_type: str = JSON) -> Reply:
        """The appliance's reply."""
        call = Call("", _raw(body), content_type=content_type)
        return send(self.served[model].port, call)


@pytest.fixture(scope="session")
def sides(
    serve: Serve, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sides]:
    """MLflow's server and an appliance for each of the three models, started together."""
    weights = repository / "build" / "demo" / "weights"
    folder = tmp_path_factory.mktemp("pipelines")
    port = free_port()
    with (folder / "log").open("wb") as log:
        reference = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.wire.pipeline.reference"),
                *(str(weights), str(folder), str(port)),
            ],
            cwd=repository,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(reference, port, folder / "log")
        with ThreadPoolExecutor(2) as pool:
            bundles = list(pool.map(lambda name: _export(repository, folder, name), MODELS))
        served = {
            name: serve("--bundle", str(bundle), await_ready=False, dtype="float32")
            for name, bundle in zip(MODELS, bundles, strict=True)
        }
        for one in served.values():
            one.wait_until_ready()
        answers = json.loads((folder / "answers.json").read_text())
        yield Sides(port, served, answers["predicted"], answers["generated"])
    finally:
        reference.terminate()
        reference.wait(20)


def _export(repository: Path, store: Path, name: str) -> Path:
    """The bundle that the factory makes of the registered model `name`."""
    out = store / "bundles" / name
    out.parent.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "build", "export", f"models:/{name}/1", "--out", str(out)),
        *("--name", name, "--skip-trial", "--tracking-uri", f"sqlite:///{store}/mlflow.db"),
    ]
    done = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, timeout=START_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"MLflow's side ended:\n{log.read_text(errors='replace')}")
        try:
            if send(port, Call("", method="GET", path="/text/ping")).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"MLflow's side did not answer within {START_S} s")


def _raw(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
