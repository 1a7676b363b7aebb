"""The appliance as its users meet it: a process of its own behind a socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import OpenAI

from edge import bundle

READY_S = 120.0
EXIT_S = 30.0


@dataclass
class Served:
    """A running appliance; `log` is its standard output and error so far."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Until /readyz says yes; fails with the log where the process ends before that."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the appliance ended with {self.process.returncode}:\n{self.log}")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        pytest.fail(f"the appliance was not ready after {READY_S} s:\n{self.log}")

    def stop(self) -> int:
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the appliance did not end within {EXIT_S} s:\n{self.log}")


Serve = Callable[..., Served]


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def serve(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Start `python -m edge ARGUMENTS` with `EDGE_*` settings, and wait until it is ready."""
    started: list[Served] = []

    def start(*arguments: str, await_ready: bool = True, **settings: object) -> Served:
        port = free_port()
        folder = tmp_path_factory.mktemp("appliance")
        variables = {f"EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {**os.environ, "EDGE_PORT": str(port), "EDGE_HOST": "127.0.0.1", **variables}
        log_path = folder / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge", *arguments],
                cwd=repository,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(Served(f"http://127.0.0.1:{port}", port, process, log_path))
        if await_ready:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.stop()
        if request.session.testsfailed:
            print(f"--- log of {served.url}\n{served.log}")


@pytest.fixture(scope="session")
def echo(serve: Serve) -> Served:
    """The scripted model `echo`, shared by the tests that only talk to it."""
    return serve("--scripted", "echo")


@pytest.fixture(scope="session")
def seal() -> Callable[[Path], Path]:
    """Writes the manifest of a folder that holds a model folder, and gives the folder back."""

    def write(folder: Path) -> Path:
        (folder / bundle.MANIFEST_NAME).write_bytes(bundle.encode(_manifest(folder)))
        return folder

    return write


@pytest.fixture(scope="session")
def model_bundle(
    demo_model: Path, seal: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of the demo model."""
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(demo_model, folder / bundle.MODEL_FOLDER)
    return seal(folder)


@pytest.fixture(scope="session")
def model(serve: Serve, model_bundle: Path) -> Served:
    """A real model, shared by the tests that only talk to it."""
    return serve("--bundle", str(model_bundle))


@pytest.fixture(scope="session")
def client(echo: Served) -> Iterator[OpenAI]:
    """The official client of the scripted model; it does not retry."""
    with OpenAI(base_url=f"{echo.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="session")
def talker(model: Served) -> Iterator[OpenAI]:
    """The official client of the real model; it does not retry."""
    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def _manifest(folder: Path) -> bundle.Manifest:
    model_folder = folder / bundle.MODEL_FOLDER
    config = json.loads((model_folder / "genai_config.json").read_text())["model"]
    eos = config["eos_token_id"]
    return bundle.Manifest(
        name="demo",
        flavor="onnx",
        files=tuple(
            bundle.File(
                path.relative_to(folder).as_posix(), path.stat().st_size, bundle.sha256_of(path)
            )
            for path in sorted(model_folder.rglob("*"))
            if path.is_file()
        ),
        signature=bundle.Signature("prompt", (bundle.Column("prompt", "string"),)),
        generation=bundle.Defaults(max_tokens=48, temperature=0.0),
        context_length=config["context_length"],
        eos_ids=tuple(eos) if isinstance(eos, list) else (eos,),
        kv_bytes_per_token=_kv_bytes_per_token(config["decoder"]),
        chat_template=(model_folder / "chat_template.jinja").read_text(),
        model_type=config["type"],
        lineage=bundle.Lineage(model_name="demo", model_version="1", alias="champion"),
    )


def _kv_bytes_per_token(decoder: dict[str, int]) -> int:
    keys_and_values, bytes_per_number = 2, 4
    heads = decoder["num_key_value_heads"] * decoder["num_hidden_layers"]
    return keys_and_values * heads * decoder["head_size"] * bytes_per_number


@pytest.fixture(scope="session")
def echo_params(serve: Serve) -> Served:
    """The scripted model `echo_params`, shared by the tests that only talk to it."""
    return serve("--scripted", "echo_params")
