"""Health, metrics and version of a running appliance, idle and under load."""

from __future__ import annotations

import json
import threading
import time

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from .traffic import Stream, call, connect, eventually, figure, get, is_idle, post

LONG = {"prompt": "x" * 500_000, "max_tokens": 500_000}


def test_health_of_a_ready_appliance(echo):
    for path in ("/livez", "/readyz"):
        status, body, headers = get(echo, path)
        assert (status, body) == (200, b"ok\n")
        assert headers["Content-Type"].startswith("text/plain")


def test_version(echo):
    status, body, _ = get(echo, "/v1/version")
    found = json.loads(body)
    assert status == 200
    assert found["model"]["name"] == "echo"
    assert found["phial"]
    assert found["runtimes"].keys() == {
        *("onnxruntime", "onnxruntime-genai", "torch", "transformers"),
    }


def test_version_of_a_bundle_tells_its_lineage(model, model_bundle):
    _, body, _ = get(model, "/v1/version")
    manifest = json.loads((model_bundle / "manifest.json").read_bytes())
    found = json.loads(body)
    assert found["model"]["name"] == manifest["name"]
    assert found["model"]["context_length"] == manifest["context_length"]
    assert len(found["bundle_sha256"]) == 64


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        ("text/plain", parser.text_string_to_metric_families),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            openmetrics_parser.text_string_to_metric_families,
        ),
    ],
)
def test_metrics_in_both_formats(echo, accept, parse):
    status, body, headers = get(echo, "/metrics", Accept=accept)
    assert status == 200
    assert headers["Content-Type"].startswith(accept.partition(";")[0])
    names = {family.name for family in parse(body.decode())}
    assert {"edge_ready", "gen_ai_server_request_duration_seconds"} <= names


def test_a_request_moves_the_figures(echo):
    counted = ("edge_requests_total", "code", "200", "finish_reason", "stop")
    labels = (*counted, "operation", "text_completion")
    before = figure(echo, *labels)
    status, _, headers = post(echo, "/v1/completions", {"prompt": "abc"})
    assert status == 200
    assert headers["X-Request-Id"]
    assert figure(echo, *labels) == before + 1
    assert figure(echo, "edge_ready") == 1


def lines(served):
    """The lines of the request log."""
    found = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]
    return [entry for entry in found if entry["logger"] == "edge.request"]


def test_each_request_writes_one_line_without_its_text(serve):
    served = serve("--scripted", "echo")
    headers = {"X-Request-Id": "mine-1"}
    post(served, "/v1/chat/completions", {"messages": [{"role": "user", "content": "secret"}]},
         **headers)  # fmt: skip
    post(served, "/v1/completions", {"prompt": 5})
    post(served, "/invocations", {"inputs": ["secret"]})
    get(served, "/metrics")
    eventually(lambda: len(lines(served)) >= 3)
    found = lines(served)
    assert [entry["operation"] for entry in found] == ["chat", "text_completion", "invocations"]
    assert [entry["code"] for entry in found] == [200, 400, 200]
    assert found[0]["request_id"] == "mine-1"
    assert len({entry["request_id"] for entry in found}) == 3
    assert "secret" not in served.log
    for entry in (found[0], found[2]):
        assert entry["prompt_tokens"] > 0
        assert entry["duration_s"] >= entry["queue_s"] + entry["prefill_s"]
    # Nothing but JSON is ever written.
    assert all(line.startswith("{") for line in served.log.splitlines())


def test_prompts_are_logged_where_that_is_asked_for(serve):
    served = serve("--scripted", "echo", log_prompts=1)
    post(served, "/v1/completions", {"prompt": "not secret"})
    eventually(lambda: len(lines(served)) == 1)
    (entry,) = lines(served)
    assert entry["prompts"][0]["text"] == entry["answers"][0] == "not secret"


def slowest_livez(served, seconds):
    """The longest time that /livez took within `seconds`, and how often it was asked."""
    end_s, slowest, count = time.monotonic() + seconds, 0.0, 0
    while time.monotonic() < end_s:
        began_s = time.monotonic()
        assert get(served, "/livez")[0] == 200
        slowest = max(slowest, time.monotonic() - began_s)
        count += 1
        time.sleep(0.01)
    return slowest, count


def test_health_under_load(echo):
    streams = [Stream(echo, "/v1/completions", LONG) for _ in range(4)]
    eaters = [threading.Thread(target=lambda s=s: [None for _ in s.events()]) for s in streams]
    for eater in eaters:
        eater.start()
    slowest, count = slowest_livez(echo, 1.0)
    assert get(echo, "/readyz")[0] == 200
    assert figure(echo, "edge_requests_running") == 4
    # An appliance that stood still for its callers would take as long as they do.
    assert slowest < 2.0
    assert count > 3
    for stream in streams:
        stream.connection.shutdown(2)
    for eater in eaters:
        eater.join(20)
    eventually(lambda: is_idle(echo))


def test_health_during_a_long_prefill(model, model_bundle):
    """Many long prompts one after another: the model works all the time."""
    manifest = json.loads((model_bundle / "manifest.json").read_bytes())
    length = manifest["context_length"] - 8
    body = {"prompt": [[20] * length] * 40, "max_tokens": 1}
    connection = connect(model)
    raw = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    eventually(lambda: figure(model, "edge_requests_running") > 0)
    slowest, count = slowest_livez(model, 1.0)
    assert slowest < 1.0
    assert count > 3
    connection.close()
    eventually(lambda: is_idle(model))


def test_before_the_model_is_there(serve, model_bundle):
    """/livez answers at once; the rest says 503 with a hint until a token came out."""
    served = serve("--bundle", str(model_bundle), await_ready=False)
    seen = set()
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            live, ready = get(served, "/livez")[0], get(served, "/readyz")
        except ConnectionError:
            time.sleep(0.01)
            continue
        assert live == 200
        if ready[0] == 200:
            break
        assert ready[2]["Retry-After"]
        status, body, headers = post(served, "/v1/completions", {"prompt": "x", "max_tokens": 1})
        if status == 503:
            assert json.loads(body)["error"]["code"] == "not_ready"
            assert int(headers["Retry-After"]) >= 1
        seen.add(status)
    assert get(served, "/readyz")[0] == 200
    assert seen <= {200, 503}
    assert served.stop() == 0


@pytest.fixture(scope="module")
def locked(serve, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("first\nsecond\n")
    return serve("--scripted", "echo", api_key_file=keys)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/invocations"])
def test_a_key_is_asked_for(locked, path):
    status, _, headers = post(locked, path, {"prompt": "x"})
    assert status == 401
    assert headers["WWW-Authenticate"] == "Bearer"
    assert post(locked, path, {"prompt": "x"}, Authorization="Bearer third")[0] == 401
    status, _, _ = post(locked, path, {"prompt": "x"}, Authorization="Bearer second")
    assert status in (200, 400)


def test_models_are_behind_the_key_and_health_is_not(locked):
    assert get(locked, "/v1/models")[0] == 401
    assert get(locked, "/v1/models", Authorization="Bearer first")[0] == 200
    for path in ("/livez", "/readyz", "/metrics", "/ping", "/health", "/version", "/v1/version"):
        assert get(locked, path)[0] == 200
    assert figure(locked, "edge_requests_rejected_total", "reason", "unauthorized") >= 1


def test_bodies_have_a_limit(serve):
    served = serve("--scripted", "echo", max_body_bytes="10k")
    fits = json.dumps({"prompt": "x" * 10_000}).encode()
    assert len(fits) < 10 << 10
    assert post(served, "/v1/completions", fits)[0] == 200
    for path in ("/v1/completions", "/invocations"):
        exact = fits + b" " * ((10 << 10) - len(fits))
        assert post(served, path, exact)[0] != 413
        assert post(served, path, exact + b" ")[0] == 413
    chunked = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    parts = (b"400\r\n" + b" " * 1024 + b"\r\n") * 11 + b"0\r\n\r\n"
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in chunked.items()
    )
    with connect(served) as connection:
        connection.sendall(head.encode() + b"\r\n" + parts)
        assert b" 413 " in connection.recv(100)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("POST", "/livez", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_routes_that_are_none(echo, method, path, status):
    found, body, headers = call(echo, method, path, None)
    assert found == status
    assert headers["Content-Type"] == "application/json"
    assert isinstance(json.loads(body), dict)
