"""Whole answers: shapes, log-probabilities, usage; read back by the official client's types."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion

from edge.errors import Cancelled, EngineFailed
from edge.generation import Finish, TokenLogprob, ToolCall, Usage
from edge.protocol import openai_response
from edge.protocol.openai_response import Envelope

USED = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=6)


@dataclass(frozen=True)
class Answer:
    index: int
    text: str
    finish: Finish = Finish.STOP
    logprobs: tuple[TokenLogprob, ...] = ()
    calls: tuple[ToolCall, ...] = ()


def envelope(**more):
    return Envelope(id="chatcmpl-1", created=1700000000, model="phi3", fingerprint="fp_1", **more)


def token(text, logprob, *, id=1, raw=None, top=(), offset=0):
    return TokenLogprob(
        id=id, text=text, raw=text.encode() if raw is None else raw, logprob=logprob,
        top=tuple(top), offset=offset,
    )  # fmt: skip


def test_a_chat_completion():
    body = openai_response.chat(envelope(), [Answer(0, "Madrid")], USED)
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "phi3",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Madrid", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 4,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
    }
    assert ChatCompletion.model_validate(body, strict=True).choices[0].message.content == "Madrid"


CALLS = (ToolCall("call_1", "now", "{}"), ToolCall("call_2", "add", '{"a": 1}'))


def test_calls_of_tools():
    answer = Answer(0, "", Finish.TOOL_CALLS, calls=CALLS)
    body = openai_response.chat(envelope(), [answer], USED)
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            {
                "id": "call_2",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1}'},
            },
        ],
    }
    message = ChatCompletion.model_validate(body, strict=True).choices[0].message
    assert [call.function.name for call in message.tool_calls or []] == ["now", "add"]


def test_words_beside_calls():
    answer = Answer(0, "Let me see.", Finish.LENGTH, calls=CALLS[:1])
    (choice,) = openai_response.chat(envelope(), [answer], USED)["choices"]
    assert choice["message"]["content"] == "Let me see."
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "length"


def test_a_text_completion():
    answers = [Answer(0, "a", Finish.LENGTH), Answer(1, "b")]
    body = openai_response.completion(envelope(), answers, USED)
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": "a", "logprobs": None, "finish_reason": "length"},
        {"index": 1, "text": "b", "logprobs": None, "finish_reason": "stop"},
    ]
    assert Completion.model_validate(body, strict=True).choices[1].text == "b"


def test_metadata_comes_back():
    body = openai_response.chat(envelope(metadata={"k": "v"}), [Answer(0, "x")], USED)
    assert body["metadata"] == {"k": "v"}
    assert ChatCompletion.model_validate(body, strict=True).metadata == {"k": "v"}


def test_chat_logprobs():
    chosen = token(
        " caf\u00e9",
        -0.5,
        top=[(7, " caf\u00e9", " caf\u00e9".encode(), -0.5), (8, "x", b"x", -float("inf"))],
    )
    answer = Answer(0, " caf\u00e9", logprobs=(chosen,))
    body = openai_response.chat(envelope(logprobs=2), [answer], USED)
    raw = [32, 99, 97, 102, 195, 169]
    assert body["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": " caf\u00e9",
                "logprob": -0.5,
                "bytes": raw,
                "top_logprobs": [
                    {"token": " caf\u00e9", "logprob": -0.5, "bytes": raw},
                    {"token": "x", "logprob": -9999.0, "bytes": [120]},
                ],
            }
        ],
        "refusal": None,
    }
    ChatCompletion.model_validate(body, strict=True)


def test_logprobs_of_an_empty_answer_are_an_empty_list():
    body = openai_response.chat(envelope(logprobs=0), [Answer(0, "")], USED)
    assert body["choices"][0]["logprobs"] == {"content": [], "refusal": None}


def test_completion_logprobs_of_an_echo():
    tokens = (
        token("The", None, offset=0),
        token(" sky", -1.0, offset=3, top=[(2, " cat", b" cat", -0.25)]),
        token("\ufffd", -2.0, raw=b"\xe2\x82", offset=7, top=[(3, "\ufffd", b"\xe2\x82", -2.0)]),
    )
    answer = Answer(0, "The sky", logprobs=tokens)
    body = openai_response.completion(envelope(logprobs=1), [answer], USED)
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["The", " sky", "bytes:\\xe2\\x82"],
        "token_logprobs": [None, -1.0, -2.0],
        "top_logprobs": [None, {" cat": -0.25, " sky": -1.0}, {"bytes:\\xe2\\x82": -2.0}],
        "text_offset": [0, 3, 7],
    }


def test_completion_logprobs_without_alternatives():
    answer = Answer(0, "a", logprobs=(token("a", -1.0),))
    body = openai_response.completion(envelope(logprobs=0), [answer], USED)
    assert body["choices"][0]["logprobs"]["token_logprobs"] == [-1.0]
    assert body["choices"][0]["logprobs"]["top_logprobs"] is None


def test_the_greedy_token_is_the_best_of_its_alternatives():
    # Evaluation harnesses compare the chosen log-probability with the largest alternative.
    answer = Answer(0, "a", logprobs=(token("a", -0.1, top=[(1, "a", b"a", -0.1)]),))
    body = openai_response.completion(envelope(logprobs=1), [answer], USED)
    logprobs = body["choices"][0]["logprobs"]
    assert max(logprobs["top_logprobs"][0].values()) == logprobs["token_logprobs"][0]


@pytest.mark.parametrize(
    ("logprob", "written"), [(-float("inf"), -9999.0), (float("nan"), -9999.0), (-1e9, -9999.0)]
)
def test_logprobs_are_numbers_that_json_has(logprob, written):
    answer = Answer(0, "a", logprobs=(token("a", logprob),))
    body = openai_response.chat(envelope(logprobs=0), [answer], USED)
    assert body["choices"][0]["logprobs"]["content"][0]["logprob"] == written


@pytest.mark.parametrize(
    ("finish", "error"), [(Finish.CANCELLED, Cancelled), (Finish.ERROR, EngineFailed)]
)
def test_a_choice_that_did_not_end_well_is_no_answer(finish, error):
    for body in (openai_response.chat, openai_response.completion):
        with pytest.raises(error):
            body(envelope(), [Answer(0, "half", finish)], USED)
