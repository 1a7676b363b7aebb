"""The wiring: one application from settings and a model, loading beside it, and its end."""

from __future__ import annotations

import json
import logging
import os
import threading
import time

import pytest

from edge import app, bundle
from edge.config import Settings
from edge.engine import scripted
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.errors import StartupError
from edge.loaders import Loaded

PATIENCE_S = 10.0


def served(load=None):
    plain = app.from_script("echo")
    if load is None:
        return plain
    return app.Served(plain.manifest, "ab" * 32, load, plain.to_request)


def eventually(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture
def started():
    """Starts applications and closes them at the end."""
    found = []

    def start(load=None, **settings):
        found.append(app.App(Settings(**settings), served(load)))
        found[-1].start()
        return found[-1], found[-1].wsgi.test_client()

    yield start
    for one in found:
        one.close()


def test_it_becomes_ready(started):
    one, client = started()
    eventually(lambda: one.is_ready)
    assert client.get("/readyz").status_code == 200
    answer = client.post("/v1/completions", json={"prompt": "hello"})
    assert answer.json["choices"][0]["text"] == "hello"
    assert client.post("/invocations", json={"inputs": ["hi"]}).json == {"predictions": ["hi"]}


def test_while_it_loads(started):
    gate = threading.Event()

    def load():
        gate.wait(PATIENCE_S)
        return Loaded(EchoEngine(), ByteTokenizer())

    one, client = started(load)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == client.get("/ping").status_code == 503
    assert client.get("/metrics").status_code == 200
    answer = client.post("/v1/completions", json={"prompt": "hello"})
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "not_ready")
    assert client.post("/invocations", json={"inputs": ["hi"]}).status_code == 503
    assert b"edge_ready 0.0" in client.get("/metrics").data
    gate.set()
    eventually(lambda: one.is_ready)
    assert b"edge_ready 1.0" in client.get("/metrics").data


@pytest.mark.parametrize(
    "error", [StartupError(["first", "second"]), KeyError("vocab_size"), MemoryError()], ids=repr
)
def test_a_model_that_cannot_be_loaded_ends_the_process(monkeypatch, caplog, error):
    """Whatever the reason: what can never become ready must not look alive."""
    statuses = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)

    def load():
        raise error

    one = app.App(Settings(), served(load))
    with caplog.at_level(logging.ERROR):
        one.start()
        eventually(lambda: statuses)
    assert statuses == [app.LOAD_FAILED]
    assert not one.is_ready
    text = "\n".join(record.getMessage() for record in caplog.records)
    if isinstance(error, StartupError):
        assert "first" in text
        assert "second" in text
    assert any(record.exc_info for record in caplog.records) != isinstance(error, StartupError)


def test_draining(started):
    one, client = started(drain_s=0.0)
    eventually(lambda: one.is_ready)
    one.drain()
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    eventually(lambda: client.post("/v1/completions", json={"prompt": "x"}).status_code == 503)
    assert client.post("/v1/completions", json={"prompt": "x"}).json["error"]["code"] == "draining"


def test_draining_before_it_is_loaded(started):
    gate = threading.Event()

    def load():
        gate.wait(PATIENCE_S)
        return Loaded(EchoEngine(), ByteTokenizer())

    one, client = started(load)
    one.drain()
    gate.set()
    eventually(lambda: one._backend is not None)
    assert not one.is_ready
    assert client.get("/readyz").status_code == 503


def test_closing_ends_the_engine():
    engine = EchoEngine()
    one = app.App(Settings(), served(lambda: Loaded(engine, ByteTokenizer())))
    one.start()
    eventually(lambda: one.is_ready)
    one.close()
    eventually(lambda: engine.is_shut_down)
    one.close()


def test_the_facts_of_the_model_are_published(started):
    one, client = started(lambda: Loaded(EchoEngine(), ByteTokenizer()))
    text = client.get("/metrics").data.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("edge_model_info{")]
    for part in ('model="echo"', 'flavor="onnx"', f'bundle_sha256="{"ab" * 32}"', 'genai="'):
        assert part in line
    assert one._metrics.registry.get_sample_value("edge_ready") in (0.0, 1.0)


def test_other_naming_schemes_are_a_setting(started):
    _, plain = started()
    _, aliased = started(metrics_aliases=("vllm",))
    assert b"vllm:" not in plain.get("/metrics").data
    assert b"vllm:num_requests_running" in aliased.get("/metrics").data


def test_a_key_file_guards_the_model(started, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    one, client = started(api_key_file=keys)
    eventually(lambda: one.is_ready)
    assert client.post("/v1/completions", json={"prompt": "x"}).status_code == 401
    good = {"Authorization": "Bearer secret"}
    assert client.post("/v1/completions", json={"prompt": "x"}, headers=good).status_code == 200
    assert client.get("/ping").status_code == 200


def test_a_key_file_that_is_none_is_a_bad_start(tmp_path):
    with pytest.raises(StartupError):
        app.App(Settings(api_key_file=tmp_path / "none"), served())


def test_every_answer_names_its_request(started):
    _, client = started()
    given = client.get("/livez", headers={"X-Request-Id": "mine"})
    assert given.headers["X-Request-Id"] == "mine"
    made = {client.get("/nothing").headers["X-Request-Id"] for _ in range(3)}
    assert len(made) == 3


def test_a_bundle_brings_its_manifest(tmp_path):
    manifest = scripted.manifest("echo")
    (tmp_path / "manifest.json").write_bytes(bundle.encode(manifest))
    opened = bundle.read(tmp_path)
    found = app.from_bundle(opened, Settings())
    assert (found.manifest, found.bundle_sha256) == (manifest, opened.sha256)


def test_scripts_have_the_signatures_of_the_models_they_mirror():
    plain, with_params = app.from_script("echo"), app.from_script("echo_params")
    assert plain.manifest.signature.params == ()
    assert {param.name for param in with_params.manifest.signature.params} == {
        "max_tokens",
        "temperature",
        "stop",
    }


def test_the_version_route_tells_it_all(started):
    _, client = started()
    found = json.loads(client.get("/v1/version").data)
    assert found.keys() == {
        "phial",
        "model",
        "bundle_sha256",
        "engine",
        "runtimes",
        "exported_with",
    }
