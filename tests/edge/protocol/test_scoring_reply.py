"""Answers of the scoring protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge import errors
from edge.errors import EdgeError
from edge.generation import Delta, Finish, Message, Usage
from edge.protocol import scoring_reply
from edge.protocol.scoring import Invocation
from edge.protocol.scoring_reply import Envelope
from edge.service import Completed

TEXT = Envelope("id-1", 1700000000, "phi3", is_chat=False)
CHAT = Envelope("id-1", 1700000000, "phi3", is_chat=True)
USAGE = Usage(prompt_tokens=4, completion_tokens=2)
CONVERSATION = (Message("user", "hi"),)


def choices(*texts: str) -> list[Completed]:
    return [Completed(i, text, Finish.STOP, ()) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("is_wrapped", "body"),
    [(True, b'{"predictions": ["a", "\\u00e9\\n"]}'), (False, b'["a", "\\u00e9\\n"]')],
)
def test_predictions_are_written_as_mlflow_writes_them(is_wrapped: bool, body: bytes) -> None:
    invocation = Invocation(("x", "y"), {}, is_wrapped)
    assert scoring_reply.predictions(TEXT, invocation, choices("a", "é\n"), USAGE) == body


def test_no_rows() -> None:
    invocation = Invocation((), {}, True)
    assert scoring_reply.predictions(TEXT, invocation, (), Usage()) == b'{"predictions": []}'
    assert scoring_reply.predictions(CHAT, invocation, (), Usage()) == b'{"predictions": []}'


def test_a_chat_model_predicts_completions() -> None:
    invocation = Invocation((CONVERSATION,), {}, False)
    body = scoring_reply.predictions(CHAT, invocation, choices("Hello!"), USAGE)
    assert json.loads(body) == [
        {
            "id": "id-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "phi3",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Hello!"},
                }
            ],
            "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
        }
    ]


def test_each_conversation_has_its_own_samples() -> None:
    invocation = Invocation((CONVERSATION, CONVERSATION), {"n": 2}, True)
    body = scoring_reply.predictions(CHAT, invocation, choices("a", "b", "c", "d"), USAGE)
    answers = json.loads(body)["predictions"]
    texts = [[choice["message"]["content"] for choice in row["choices"]] for row in answers]
    assert texts == [["a", "b"], ["c", "d"]]
    assert [choice["index"] for choice in answers[1]["choices"]] == [0, 1]
    assert all("usage" not in row for row in answers)


@pytest.mark.parametrize(
    ("envelope", "kind", "piece"),
    [
        (TEXT, "text_completion.chunk", {"text": "Hel"}),
        (CHAT, "chat.completion.chunk", {"delta": {"content": "Hel"}}),
    ],
)
def test_chunks(envelope: Envelope, kind: str, piece: dict[str, object]) -> None:
    deltas = [Delta(0, "Hel"), Delta(0, "lo", finish=Finish.LENGTH), Delta(0, usage=USAGE)]
    first, second, last = scoring_reply.chunks(envelope, deltas)
    assert first["choices"] == [{"index": 0, **piece, "finish_reason": None}]
    assert second["choices"][0]["finish_reason"] == "length"
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 6)
    assert {chunk["object"] for chunk in (first, second, last)} == {kind}
    assert {chunk["id"] for chunk in (first, second, last)} == {"id-1"}


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
