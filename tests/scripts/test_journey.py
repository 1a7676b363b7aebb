"""scripts/run from the model in the box to its answer, with every part real."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from scripts import enroll, journey
from scripts.conversation import Conversation

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder from which the journey is started: not the checkout."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def start(repository, place) -> Start:
    """Start the journey as scripts/run does; its state lies in `place`/state."""

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        paths = {"PYTHONPATH": str(repository), "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.journey", "--state", "state", *arguments],
            cwd=place,
            env={**os.environ, **paths, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def first(start) -> tuple[int, str, str]:
    """The first run in a place where nothing was before."""
    return finish(start("--once", "--port", "0"))


@pytest.fixture(scope="module")
def store(first, place) -> str:
    """The store that the first run made."""
    assert first[0] == 0, first
    return f"sqlite:///{place / 'state' / 'mlflow.db'}"


def test_one_command_leads_to_madrid(first):
    status, out, err = first
    assert status == 0, out + err
    assert "Q  What is the capital of Spain?" in out
    assert re.search(r"A  .*Madrid", out)
    assert re.search(r"\d+ tokens in, \d+ out, [\d.]+ s, finish_reason stop", out)
    assert "/v1/chat/completions" in out
    assert "/invocations" in out
    assert "/metrics" in out


def test_everything_lies_in_the_state_folder(first, place):
    assert [path.name for path in place.iterdir()] == ["state"]
    kept = {path.name for path in (place / "state").iterdir()}
    assert {"mlflow.db", "bundle", "appliance.log"} <= kept


def test_the_model_is_registered_under_its_alias(store):
    version = MlflowClient(store).get_model_version_by_alias(enroll.NAME, enroll.ALIAS)
    assert version.tags[enroll.TAG] == enroll.digest()


def test_a_second_run_does_not_log_again(start, store):
    status, out, err = finish(start("--once", "--port", "0"))
    assert status == 0, out + err
    assert "is registered already" in out
    assert "Madrid" in out
    assert len(MlflowClient(store).search_model_versions(f"name = '{enroll.NAME}'")) == 1


@pytest.mark.torch
def test_the_pipeline_flavor_goes_the_same_way(start, store, place):
    """The demo model's torch weights: logged, tried, sealed, served by torch, asked."""
    status, out, err = finish(start("--once", "--port", "0", "--flavor", "pipeline"))
    assert status == 0, out + err
    assert "models:/phial-demo-pipeline@champion --out" in out
    assert "pipeline (transformers and torch)" in out
    assert "verdict: good" in out
    assert "the trial was left out" not in out
    assert re.search(r"A  .*Madrid", out)
    manifest = json.loads((place / "state" / "bundle" / "manifest.json").read_text())
    assert manifest["flavor"] == "pipeline"
    assert '"engine": "pipeline"' in (place / "state" / "appliance.log").read_text()


def test_a_changed_model_would_be_logged_again(store):
    client = MlflowClient(store)
    version = client.get_model_version_by_alias(enroll.NAME, enroll.ALIAS)
    assert enroll.registered(client) == enroll.digest()
    client.set_model_version_tag(enroll.NAME, version.version, enroll.TAG, "another")
    assert enroll.registered(client) != enroll.digest()
    client.set_model_version_tag(enroll.NAME, version.version, enroll.TAG, enroll.digest())


def test_an_empty_store_has_no_model(tmp_path):
    assert enroll.registered(MlflowClient(f"sqlite:///{tmp_path / 'empty.db'}")) is None


@pytest.fixture
def staying(start, store) -> Iterator[tuple[subprocess.Popen[str], Conversation]]:
    """A run of the user's own model that stays up, and a client of it."""
    process = start(f"models:/{enroll.NAME}/1", "--port", "0", MLFLOW_TRACKING_URI=store)
    out = ""
    while "Ctrl-C stops it." not in out:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        out += line
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/metrics", out)[1])
    yield process, Conversation("127.0.0.1", port)
    process.terminate()
    finish(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_until_a_signal_and_drains(staying, number):
    process, talk = staying
    assert "Madrid" in talk.ask("What is the capital of Spain?")
    process.send_signal(number)
    status, out, err = finish(process)
    assert (status, err) == (0, "")
    assert "stopping" in out
    assert not talk.is_ready()


def test_an_appliance_that_ends_by_itself_is_an_error(staying):
    process, _ = staying
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 1
    assert "the appliance ended by itself (status 0); see " in err


def test_a_busy_port_is_said_before_any_work(start, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        status, out, err = finish(start("--port", str(port), "--state", str(tmp_path / "none")))
    assert (status, out) == (1, "")
    assert err == (
        f"run: cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Pass another --port, or --port 0 for a free one.\n"
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(journey.Failed, match=f"cannot listen on 127.0.0.1 port {port}: "):
        journey.claim_port("127.0.0.1", port)


def test_an_unknown_model_stops_the_journey(start, store):
    status, out, err = finish(start("models:/nobody@home", MLFLOW_TRACKING_URI=store))
    assert status == 1
    assert "nobody" in err
    assert "run: `python -m build export models:/nobody@home" in err
    assert "Traceback" not in out + err


def test_a_bad_setting_of_the_appliance_is_shown(start, store):
    status, out, err = finish(start("--once", "--port", "0", EDGE_SLOTS="none"))
    assert status == 1
    assert "the appliance did not start (status 2)" in err
    assert "EDGE_SLOTS is 'none', expected" in err
    assert "Traceback" not in out + err


def test_an_interrupt_before_serving_leaves_nothing_running(start, store, tmp_path):
    process = start(f"models:/{enroll.NAME}/1", "--port", "0", MLFLOW_TRACKING_URI=store)
    assert "build export" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status == 130
    assert err.endswith("run: interrupted\n")


def test_the_script_explains_itself_from_anywhere(repository, tmp_path):
    done = subprocess.run(
        [repository / "scripts" / "run", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for word in ("usage: scripts/run", "--once", "--port", "models:/NAME@ALIAS"):
        assert word in done.stdout
