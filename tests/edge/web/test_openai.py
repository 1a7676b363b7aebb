"""The OpenAI routes that generate: answers, streams, refusals, failures midway."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge import errors
from edge.config import Settings
from edge.engine import scripted
from edge.engine.scripted import EchoEngine
from edge.errors import EdgeError
from edge.web import failures

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


def events(response):
    """The data of every event of a stream, each checked to be framed alone."""
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    with response:
        frames = response.get_data(as_text=True).split("\n\n")
    assert frames.pop() == ""
    data = [frame.removeprefix("data: ") for frame in frames]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def test_a_chat(bench):
    response = bench().chat("What is it?")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    body = response.get_json()
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "phi3"
    assert body["system_fingerprint"] == "fp_0123456789"
    assert body["choices"][0]["message"]["content"] == "What is it?"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == len("What is it?")


def test_a_completion_of_several_prompts(bench):
    body = bench().complete(["one", "two"], n=2).get_json()
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert [choice["text"] for choice in body["choices"]] == ["one", "one", "two", "two"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]


def test_every_answer_has_its_own_id(bench):
    one = bench()
    assert one.chat().get_json()["id"] != one.chat().get_json()["id"]


def test_max_tokens_ends_with_length(bench):
    body = bench().complete("abcdef", max_tokens=3).get_json()
    assert (body["choices"][0]["text"], body["choices"][0]["finish_reason"]) == ("abc", "length")


def test_echo_comes_before_the_answer_with_scores(bench):
    body = bench().complete("ab", echo=True, logprobs=1, max_tokens=1).get_json()
    (choice,) = body["choices"]
    assert choice["text"] == "aba"
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert choice["logprobs"]["text_offset"][-1] == 2


@pytest.mark.parametrize("echo", [False, True])
def test_scores_in_a_stream_come_with_their_text(bench, echo):
    data = events(bench().complete("some", max_tokens=4, echo=echo, logprobs=1, stream=True))
    offset = 0
    for chunk in data[:-1]:
        (choice,) = chunk["choices"]
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
        for token, place in zip(
            choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True
        ):
            assert place == offset
            offset += len(token)
    assert offset == (8 if echo else 4)


def test_a_chat_stream(bench):
    data = events(bench().chat("ok", stream=True, stream_options={"include_usage": True}))
    assert data[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in data[:-2])
    assert text == "ok"
    assert data[-3]["choices"][0]["finish_reason"] == "stop"
    assert data[-2]["choices"] == []
    assert data[-2]["usage"]["completion_tokens"] == 2
    assert data[-1] == "[DONE]"
    assert len({chunk["id"] for chunk in data[:-1]}) == 1


def test_a_completion_stream_is_the_whole_answer_in_pieces(bench):
    one = bench()
    whole = one.complete("some text", max_tokens=6).get_json()["choices"][0]
    data = events(one.complete("some text", max_tokens=6, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in data[:-1]) == whole["text"]
    assert data[-2]["choices"][0]["finish_reason"] == whole["finish_reason"]


def test_a_failure_before_the_first_piece_has_its_status_even_in_a_stream(bench):
    for stream in (False, True):
        response = bench().chat(scripted.FAILING_PROMPT, stream=stream)
        assert response.status_code == 500
        assert response.content_type == "application/json"
        assert response.get_json()["error"]["type"] == "server_error"


def test_a_failure_in_the_middle_is_the_last_event(bench):
    data = events(bench(EchoEngine(fail_after=3)).chat("abcdef", stream=True))
    assert set(data[-1]) == {"error"}
    assert data[-1]["error"]["code"] == "engine_failed"
    assert "[DONE]" not in data


def test_a_failure_in_the_middle_of_a_whole_answer_is_a_status(bench):
    assert bench(EchoEngine(fail_after=3)).chat("abcdef").status_code == 500


def test_streams_give_their_rows_back(bench):
    one = bench()
    events(one.chat("abc", stream=True))
    response = one.chat("abcdef" * 1000, stream=True)
    response.close()
    assert one.chat("after").status_code == 200
    assert one.engine.open_rows == 0


def test_every_watch_for_the_client_ends_with_its_answer(bench):
    one = bench(EchoEngine(fail_after=3))
    one.chat("ab")
    one.chat("abcdef")
    events(one.chat("ab", stream=True))
    events(one.chat("abcdef", stream=True))
    one.chat(scripted.FAILING_PROMPT, stream=True)
    one.chat("ab" * 1000, stream=True).close()
    assert one.departures.open == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.QueueFull("full", retry_after_s=2.5), 429),
        (errors.NotReady("loading"), 503),
        (errors.Draining("bye"), 503),
        (errors.PromptTooLong("long", param="messages"), 400),
        (errors.MemoryExceeded("big", param="max_tokens"), 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_at_the_door_are_statuses(bench, monkeypatch, error, status, stream):
    one = bench()

    def refuse(request):
        raise error

    monkeypatch.setattr(one.service, "generate", refuse)
    response = one.chat(stream=stream)
    assert response.status_code == status
    body = response.get_json()["error"]
    assert (body["message"], body["code"]) == (str(error), error.code)
    assert body["param"] == getattr(error, "param", None)
    assert ("Retry-After" in response.headers) == isinstance(error, errors.Unavailable)


def test_a_model_that_is_still_loading(bench):
    one = bench(is_attached=False)
    response = one.chat()
    assert response.status_code == 503
    assert response.get_json()["error"]["code"] == "not_ready"
    assert one.app.test_client().get("/v1/models").status_code == 200


def test_an_invalid_parameter_is_named(bench):
    one = bench()
    response = one.chat(temperature=3)
    assert response.status_code == 400
    assert response.get_json() == {
        "error": {
            "message": "temperature is 3, expected a number from 0 to 2",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": "invalid_value",
        }
    }
    assert one.counted() == [("chat", "400")]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_request(bench, path, raw):
    response = bench().post(path, None, json=None, data=raw, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain"])
def test_other_media_types_are_refused_by_name(bench, media):
    response = bench().post(CHAT, None, json=None, data=b"{}", content_type=media)
    assert response.status_code == 415
    assert media in response.get_json()["error"]["message"]


@pytest.mark.parametrize("media", [None, "application/json; charset=utf-8", "application/ld+json"])
def test_json_by_another_name_or_none(bench, media):
    raw = json.dumps({"prompt": "x"}).encode()
    response = bench().post(TEXT, None, json=None, data=raw, content_type=media)
    assert response.status_code == 200


def test_a_body_beyond_the_limit(bench):
    one = bench(settings=replace(Settings(), max_body_bytes=100))
    assert one.complete("x" * 10).status_code == 200
    response = one.complete("x" * 200)
    assert response.status_code == 413
    assert "100 bytes" in response.get_json()["error"]["message"]


def test_every_kind_of_error_has_openais_shape():
    for kind in EdgeError.__subclasses__():
        error = kind(["x"]) if kind is errors.StartupError else kind("x")
        body = failures.openai_body(error)["error"]
        assert set(body) == {"message", "type", "param", "code"}
