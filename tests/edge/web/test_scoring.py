"""The scoring routes on the real service, scheduler and scripted engine, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import flask
import pytest
from werkzeug.test import TestResponse

from edge import service
from edge.admission import Rules
from edge.bundle import Column, Defaults, Manifest, Signature
from edge.config import Settings
from edge.engine import scripted
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.errors import Draining, EdgeError, QueueFull
from edge.metrics import Metrics
from edge.protocol import scoring_request
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.web import failures, scoring
from edge.web.appliance import Appliance
from edge.web.departure import Departures

PROMPTS = replace(scripted.manifest("echo"), name="phi3", generation=Defaults(prompt_format="raw"))
CHAT = replace(PROMPTS, signature=Signature("chat", (Column("messages", "array"),)))
COMPLETIONS = replace(PROMPTS, signature=Signature("completions", (Column("prompt", "string"),)))
PIPELINE = replace(PROMPTS, signature=Signature("prompt", (Column("", "string"),), reply="full"))
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}
STREAM = {"Accept": "text/event-stream"}


class Watches(Departures):
    """Counts the watches that have not ended; there is no socket to watch here."""

    def __init__(self) -> None:
        self.open = 0

    def start(self, on_leave: Callable[[], None]) -> Callable[[], None]:
        self.open += 1
        return self._end_one

    def _end_one(self) -> None:
        self.open -= 1


class Bench:
    """An appliance whose parts a test can reach."""

    def __init__(self, manifest: Manifest = PROMPTS, engine: EchoEngine | None = None) -> None:
        self.manifest = manifest
        self.engine = engine or EchoEngine()
        self.metrics = Metrics("phi3")
        self.queue = Queue(8)
        self.loop = Loop(self.engine, self.queue, self.metrics, slots=2, kv_limit_bytes=1 << 40)
        self.service = service.Service(self.metrics, failures.status_of)
        self.departures = Watches()
        self.is_ready = True
        self.app = self._app()

    def attach(self) -> None:
        """Start serving."""
        rules = Rules(
            tokenizer=ByteTokenizer(),
            limits=self.engine.limits,
            defaults=self.manifest.generation,
            kv_limit_bytes=1 << 40,
            max_rows=16,
            deadline_s=30.0,
        )
        self.loop.start()
        self.service.attach(service.Backend(rules, self.queue, self.loop))

    def ask(self, body: Any, **headers: str) -> TestResponse:
        return self.app.test_client().post("/invocations", json=body, headers=headers)

    def get(self, path: str) -> TestResponse:
        return self.app.test_client().get(path)

    def counted(self) -> list[tuple[str, str]]:
        """(operation, code) of every request that was counted."""
        return [
            (sample.labels["operation"], sample.labels["code"])
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "edge_requests_total"
            for _ in range(int(sample.value))
        ]

    def _app(self) -> flask.Flask:
        app = flask.Flask(__name__)

        @app.before_request
        def name() -> None:
            flask.g.request_id = "req-1"

        appliance = Appliance(
            service=self.service,
            manifest=self.manifest,
            bundle_sha256="",
            settings=Settings(max_body_bytes=4096),
            metrics=self.metrics,
            departures=self.departures,
            is_ready=lambda: self.is_ready,
            to_request=lambda call: scoring_request.to_request(call, self.manifest),
            versions={},
            engine=lambda: ("scripted", "the test says so"),
        )
        app.register_blueprint(scoring.blueprint(appliance))
        app.register_blueprint(scoring.health(appliance))
        return app


@pytest.fixture
def serve() -> Iterator[Callable[..., Bench]]:
    """Make benches that are stopped at the end, and leave nothing open behind."""
    benches: list[Bench] = []

    def start(*arguments: Any, **options: Any) -> Bench:
        benches.append(Bench(*arguments, **options))
        benches[-1].attach()
        return benches[-1]

    yield start
    for bench in benches:
        assert bench.departures.open == 0
        bench.loop.abort(Draining("the test is over"))
        bench.queue.close()


@pytest.fixture
def bench(serve: Callable[..., Bench]) -> Bench:
    return serve()


def events(response: TestResponse) -> list[Any]:
    """The data of the events of a stream, `[DONE]` as it is."""
    data = [event.removeprefix("data: ") for event in response.text.rstrip("\n").split("\n\n")]
    response.close()
    return [item if item == "[DONE]" else json.loads(item) for item in data]


def test_predictions(bench: Bench) -> None:
    response = bench.ask({"inputs": ["a", "b"]})
    assert (response.status_code, response.data) == (200, b'{"predictions": ["a", "b"]}')
    assert response.content_type == "application/json"
    assert bench.counted() == [("invocations", "200")]


def test_no_rows_never_reach_the_engine(bench: Bench) -> None:
    assert bench.ask({"inputs": []}).data == b'{"predictions": []}'
    assert bench.counted() == []


def test_params_reach_the_engine(serve: Callable[..., Bench]) -> None:
    declared = scripted.manifest("echo_params").signature
    bench = serve(replace(PROMPTS, signature=declared))
    assert bench.ask({"prompt": "abcdef", "max_tokens": 3}).json == ["abc"]
    assert bench.ask({"prompt": "ab.cd", "stop": ["."]}).json == ["ab"]
    assert bench.ask({"inputs": ["abc"], "params": {"max_tokens": 0}}).status_code == 400


def test_a_chat_model_answers_with_completions(serve: Callable[..., Bench]) -> None:
    bench = serve(CHAT)
    completion = bench.ask({**HELLO, "max_tokens": 4}).get_json()[0]
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "phi3"
    choice = completion["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hell"}
    assert choice["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == 4


def test_a_completions_model_answers_with_text_completions(serve: Callable[..., Bench]) -> None:
    rows = {"dataframe_records": [{"prompt": "  ab", "n": 2}, {"prompt": "cde", "n": 2}]}
    first, second = serve(COMPLETIONS).ask(rows).get_json()["predictions"]
    assert {first["object"], second["object"]} == {"text_completion"}
    assert [choice["text"] for choice in first["choices"]] == ["ab", "ab"]
    # The echo's prompt has a token of its own in front, and its answers one that ends them.
    assert first["usage"] == {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}
    assert second["usage"]["total_tokens"] == 4 + 2 * 4


def test_a_pipeline_puts_the_prompt_first(serve: Callable[..., Bench]) -> None:
    bench = serve(PIPELINE)
    assert bench.ask({"inputs": " ab "}).json == {"predictions": ["ab  ab"]}
    assert bench.ask({"input": "ab"}).json == ["abab"]


def test_samples_of_a_chat(serve: Callable[..., Bench]) -> None:
    completion = serve(CHAT).ask({**HELLO, "n": 2}).get_json()[0]
    assert [choice["message"]["content"] for choice in completion["choices"]] == ["Hello!"] * 2


@pytest.mark.parametrize("headers", [{}, STREAM, {"Accept": "*/*"}])
def test_a_stream_of_a_chat(serve: Callable[..., Bench], headers: dict[str, str]) -> None:
    *chunks, last, done = events(serve(CHAT).ask({**HELLO, "stream": True}, **headers))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]
    assert "".join(texts) == "Hello!"
    whole = serve(CHAT).ask(HELLO).get_json()[0]
    assert last["usage"] == whole["usage"]
    assert done == "[DONE]"


def test_a_stream_of_several_rows(bench: Bench) -> None:
    body = {"prompt": "ab", "stream": True, "repeated": [1, 2]}
    *chunks, _, _ = events(bench.ask(body, **STREAM))
    texts = {0: "", 1: ""}
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == {0: "ab", 1: "ab"}


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "application/json"}])
def test_no_stream_without_accepting_one(bench: Bench, headers: dict[str, str]) -> None:
    assert bench.ask({"prompt": "ab", "stream": True}, **headers).data == b'["ab"]'


def test_an_error_in_the_middle_of_a_stream_is_its_last_event(serve: Callable[..., Bench]) -> None:
    bench = serve(engine=EchoEngine(fail_after=2))
    *chunks, failure = events(bench.ask({"prompt": "abc", "stream": True}, **STREAM))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "ab"
    assert failure["error_code"] == "INTERNAL_ERROR"
    assert bench.counted() == [("invocations", "500")]


def test_a_failing_model(bench: Bench) -> None:
    response = bench.ask({"prompt": "boom"})
    assert response.status_code == 500
    assert response.get_json().keys() == {"error_code", "message"}
    assert bench.counted() == [("invocations", "500")]
    assert bench.engine.open_rows == 0


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "BAD_REQUEST"),
        (b'{"inputs": [5]}', {}, 400, "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": ["' + b"x" * 5000 + b'"]}', {}, 413, "BAD_REQUEST"),
        (b'{"inputs": ' + json.dumps(["a"] * 17).encode() + b"}", {}, 400, None),
        (b"a", {"Content-Type": "text/plain"}, 415, None),
    ],
)
def test_refusals_are_counted_once(
    bench: Bench, body: bytes, headers: dict[str, str], status: int, code: str | None
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    response = bench.app.test_client().post("/invocations", data=body, headers=headers)
    assert response.status_code == status
    if code is not None:
        assert response.get_json()["error_code"] == code
    assert bench.counted() == [("invocations", str(status))]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (QueueFull("the queue is full", retry_after_s=2.5), 429, "REQUEST_LIMIT_EXCEEDED"),
        (Draining("shutting down", retry_after_s=2.5), 503, "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_unavailable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: EdgeError, status: int, code: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(bench.service, "generate", refuse)
    response = bench.ask({"prompt": "a"})
    assert (response.status_code, response.headers["Retry-After"]) == (status, "3")
    assert response.get_json() == {"error_code": code, "message": str(error)}


@pytest.mark.parametrize("path", ["/ping", "/health", "/ping/", "/health/"])
def test_health(bench: Bench, path: str) -> None:
    response = bench.get(path)
    assert (response.status_code, response.data) == (200, b"\n")
    assert response.content_type == "application/json"
    bench.is_ready = False
    response = bench.get(path)
    assert response.status_code == 503
    assert response.get_json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert int(response.headers["Retry-After"]) >= 1
    assert bench.counted() == []


def test_before_the_model_is_loaded() -> None:
    response = Bench().ask({"prompt": "a"})
    assert response.status_code == 503
    assert response.get_json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


def test_version(bench: Bench) -> None:
    response = bench.get("/version")
    assert response.content_type == "application/json"
    assert response.data.count(b".") == 2


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/invocations", "POST"), ("/ping", "GET"), ("/health", "GET"), ("/version", "GET")],
)
def test_other_methods(bench: Bench, path: str, allowed: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {allowed}:
        response = bench.app.test_client().open(path, method=method)
        assert (response.status_code, response.headers["Allow"]) == (405, allowed)
        assert response.content_type == "application/json"
        expected = b"" if method == "HEAD" else b'{"detail":"Method Not Allowed"}\n'
        assert response.data == expected
