"""`mlflow models serve` as a side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench import sides
from tests.bench.client import TIMEOUT_S, Address
from tests.bench.sides import NotStarted, Served

READY_PATH = "/ping"
_POLL_S = 0.005


def command(uri: str, address: Address) -> list[str]:
    """The command line: the environment that runs this, everything else as MLflow has it."""
    words = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    return [*words, "-m", uri, "--host", address.host, "--port", str(address.port)]


def environment(tracking_uri: str) -> dict[str, str]:
    """Where the model is; a request may take as long as our own client waits."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": path,  # it starts uvicorn by name
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(int(TIMEOUT_S)),
        "HF_HUB_OFFLINE": "1",
    }


@contextmanager
def served(uri: str, tracking_uri: str, log: Path) -> Iterator[Served]:
    """Start the server of the model `uri`, and end it with its workers. Raises `NotStarted`."""
    address = Address("127.0.0.1", sides.free_port())
    started = time.perf_counter()
    process = _start(command(uri, address), environment(tracking_uri), log)
    try:
        while not sides.is_ready(address, READY_PATH):
            late = time.perf_counter() - started > sides.START_TIMEOUT_S
            if process.poll() is not None or late:
                raise NotStarted(f"mlflow models serve did not start:\n{log.read_text()[-2000:]}")
            time.sleep(_POLL_S)
        yield Served(process, address, time.perf_counter() - started)
    finally:
        # Its server is a grandchild that outlives a SIGTERM to the command alone.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(sides.STOP_TIMEOUT_S)


def _start(line: list[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            line, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
