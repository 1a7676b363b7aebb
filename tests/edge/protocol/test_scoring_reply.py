"""Answers of the scoring protocol."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from edge import errors
from edge.errors import EdgeError
from edge.generation import Delta, Finish, Message, Usage
from edge.protocol import scoring_reply
from edge.protocol.scoring import Invocation
from edge.protocol.scoring_reply import Envelope
from edge.service import Completed

TEXT = Envelope("id-1", 1700000000, "phi3")
CHAT = replace(TEXT, kind="chat")
COMPLETIONS = replace(TEXT, kind="completions")
USAGE = Usage(prompt_tokens=4, completion_tokens=2)
CONVERSATION = (Message("user", "hi"),)


def choices(*texts: str) -> list[Completed]:
    return [Completed(i, text, Finish.STOP, ()) for i, text in enumerate(texts)]


def predictions(envelope: Envelope, invocation: Invocation, *texts: str) -> Any:
    usages = [USAGE] * len(invocation.rows)
    return json.loads(scoring_reply.predictions(envelope, invocation, choices(*texts), usages))


@pytest.mark.parametrize(
    ("is_wrapped", "body"),
    [(True, b'{"predictions": ["a", "\\u00e9\\n"]}'), (False, b'["a", "\\u00e9\\n"]')],
)
def test_predictions_are_written_as_mlflow_writes_them(is_wrapped: bool, body: bytes) -> None:
    invocation = Invocation(("x", "y"), {}, is_wrapped)
    usages = (USAGE, USAGE)
    assert scoring_reply.predictions(TEXT, invocation, choices("a", "é\n"), usages) == body


def test_no_rows() -> None:
    invocation = Invocation((), {}, True)
    for envelope in (TEXT, CHAT, COMPLETIONS):
        body = scoring_reply.predictions(envelope, invocation, (), ())
        assert body == b'{"predictions": []}'


def test_a_chat_model_predicts_completions() -> None:
    (answer,) = predictions(CHAT, Invocation((CONVERSATION,), {}, False), " \nHello! ")
    assert answer == {
        "id": "id-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "phi3",
        "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello! "},
            }
        ],
    }
    assert list(answer) == ["id", "object", "created", "model", "usage", "choices"]
    assert list(answer["choices"][0]) == ["index", "finish_reason", "message"]


def test_a_completions_model_predicts_text_completions() -> None:
    (answer,) = predictions(COMPLETIONS, Invocation(("The capital is",), {}, False), " Rome.\n")
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [{"index": 0, "finish_reason": "stop", "text": "Rome.\n"}]


def test_each_conversation_has_its_own_samples_and_usage() -> None:
    invocation = Invocation((CONVERSATION, CONVERSATION), {"n": 2}, True)
    usages = [USAGE, Usage(7, 3)]
    body = scoring_reply.predictions(CHAT, invocation, choices("a", "b", "c", "d"), usages)
    answers = json.loads(body)["predictions"]
    texts = [[choice["message"]["content"] for choice in row["choices"]] for row in answers]
    assert texts == [["a", "b"], ["c", "d"]]
    assert [choice["index"] for choice in answers[1]["choices"]] == [0, 1]
    assert [row["usage"]["total_tokens"] for row in answers] == [6, 10]
    assert [row["id"] for row in answers] == ["id-1", "id-1-1"]


@pytest.mark.parametrize(
    ("reply", "params", "texts"),
    [
        ("new", {}, [" b ", "c\n"]),
        ("stripped", {}, ["b", "c"]),
        ("full", {}, ["x b", "y\nc"]),
        ("full", {"return_full_text": None}, ["x b", "y\nc"]),
        ("full", {"return_full_text": False}, ["b", "c"]),
        ("stripped", {"return_full_text": True}, ["x b", "y\nc"]),
    ],
)
def test_how_a_prompt_model_gives_the_text_back(
    reply: Literal["new", "stripped", "full"], params: dict[str, object], texts: list[str]
) -> None:
    invocation = Invocation((" x", "y\n"), params, False)
    assert predictions(replace(TEXT, reply=reply), invocation, " b ", "c\n") == texts


def test_the_prompt_stands_before_each_of_its_samples() -> None:
    invocation = Invocation(("x", "y"), {"n": 2}, False)
    found = predictions(replace(TEXT, reply="full"), invocation, "a", "b", "c", "d")
    assert found == ["xa", "xb", "yc", "yd"]


@pytest.mark.parametrize(
    ("envelope", "kind", "piece"),
    [
        (TEXT, "text_completion.chunk", {"text": "Hel"}),
        (COMPLETIONS, "text_completion.chunk", {"text": "Hel"}),
        (CHAT, "chat.completion.chunk", {"delta": {"content": "Hel"}}),
    ],
)
def test_chunks(envelope: Envelope, kind: str, piece: dict[str, object]) -> None:
    deltas = [Delta(0, "Hel"), Delta(0, "lo", finish=Finish.LENGTH), Delta(0, usage=Usage(3, 3))]
    first, second, last = scoring_reply.chunks(envelope, deltas, lambda: [USAGE, Usage(1, 2)])
    assert first["choices"] == [{"index": 0, **piece, "finish_reason": None}]
    assert second["choices"][0]["finish_reason"] == "length"
    total = 6 if envelope is TEXT else 9
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], total)
    assert {chunk["object"] for chunk in (first, second, last)} == {kind}
    assert {chunk["id"] for chunk in (first, second, last)} == {"id-1"}


@pytest.mark.parametrize(("envelope", "text"), [(TEXT, " \n a b"), (COMPLETIONS, "a b")])
def test_a_stream_begins_where_the_whole_answer_does(envelope: Envelope, text: str) -> None:
    pieces = (" ", "\n a", " b")
    for index in (0, 1):
        deltas = [Delta(index, piece) for piece in pieces]
        chunks = scoring_reply.chunks(envelope, deltas, list)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MalformedBody("x"), "BAD_REQUEST"),
        (errors.BodyTooLarge("x"), "BAD_REQUEST"),
        (errors.InvalidRequest("x"), "INVALID_PARAMETER_VALUE"),
        (errors.PromptTooLong("x"), "INVALID_PARAMETER_VALUE"),
        (errors.MemoryExceeded("x"), "INVALID_PARAMETER_VALUE"),
        (errors.Unauthorized("x"), "UNAUTHENTICATED"),
        (errors.QueueFull("x"), "REQUEST_LIMIT_EXCEEDED"),
        (errors.NotReady("x"), "TEMPORARILY_UNAVAILABLE"),
        (errors.Draining("x"), "TEMPORARILY_UNAVAILABLE"),
        (errors.DeadlineExceeded("x"), "DEADLINE_EXCEEDED"),
        (errors.Cancelled("x"), "CANCELLED"),
        (errors.EngineFailed("x"), "INTERNAL_ERROR"),
        (EdgeError("x"), "INTERNAL_ERROR"),
    ],
)
def test_errors(error: EdgeError, code: str) -> None:
    assert scoring_reply.failure(error) == {"error_code": code, "message": "x"}


def test_the_codes_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    section = page[page.index("### Errors of scoring") : page.index("### Differences from MLflow")]
    documented = set(re.findall(r"^\| \d+ \| `([A-Z_]+)` \|", section, re.MULTILINE))
    used = {
        str(scoring_reply.failure(kind("x"))["error_code"])
        for kind in errors.__dict__.values()
        if isinstance(kind, type) and issubclass(kind, EdgeError) and kind is not EdgeError
        if kind not in (errors.StartupError, errors.Cancelled, errors.ModelNotFound)
    }
    assert documented == used
