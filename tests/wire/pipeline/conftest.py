"""MLflow's server of the transformers flavor, and the appliance with bundles of the same weights.

Both sides compute in float32 on the weights of the model in the box.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import bundle
from edge.bundle import Column, Param, Signature
from tests.wire.conftest import Serve, Served, free_port
from tests.wire.exchange import Call, Reply, send
from tests.wire.pipeline.chats import MOST_TOKENS, Body

START_S = 150.0
JSON = "application/json"
SIGNATURES = {
    "chat": Signature("chat", (Column("messages", "array"),)),
    "completions": Signature("completions", (Column("prompt", "string"),)),
    "text": Signature(
        "prompt",
        (Column("", "string"),),
        params=(
            Param("max_new_tokens", "long", MOST_TOKENS),
            Param("do_sample", "boolean", False),
            Param("return_full_text", "boolean", True),
        ),
        reply="full",
    ),
}


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
        served = {
            name: serve(
                "--bundle", str(_seal(weights, folder / name)), await_ready=False, dtype="float32"
            )
            for name in SIGNATURES
        }
        for one in served.values():
            one.wait_until_ready()
        _wait_for(reference, port, folder / "log")
        answers = json.loads((folder / "answers.json").read_text())
        yield Sides(port, served, answers["predicted"], answers["generated"])
    finally:
        reference.terminate()
        reference.wait(20)


def _seal(weights: Path, folder: Path) -> Path:
    """A bundle of the weights with the signature that the folder is named after."""
    model = folder / bundle.MODEL_FOLDER
    shutil.copytree(weights, model)
    config = json.loads((model / "config.json").read_text())
    generation = json.loads((model / "generation_config.json").read_text())
    manifest = bundle.Manifest(
        name=folder.name,
        flavor="pipeline",
        files=tuple(
            bundle.File(f"model/{path.name}", path.stat().st_size, bundle.sha256_of(path))
            for path in sorted(model.iterdir())
        ),
        signature=SIGNATURES[folder.name],
        generation=bundle.Defaults(max_tokens=MOST_TOKENS, temperature=0.0),
        context_length=config["max_position_embeddings"],
        eos_ids=tuple(generation["eos_token_id"]),
        kv_bytes_per_token=2 * config["num_hidden_layers"] * config["hidden_size"] * 2,
        chat_template=(model / "chat_template.jinja").read_text(),
        quantization="fp16",
        model_type=config["model_type"],
    )
    (folder / bundle.MANIFEST_NAME).write_bytes(bundle.encode(manifest))
    return folder


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
