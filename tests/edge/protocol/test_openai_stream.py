"""Streams: the order of chunks, and that they add up to the whole answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from edge.errors import Cancelled, EngineFailed
from edge.generation import CallDelta, Delta, Finish, TokenLogprob, Usage
from edge.protocol import openai_stream
from edge.protocol.openai_response import Envelope

USED = Usage(prompt_tokens=3, completion_tokens=2)
END = Delta(0, usage=USED)


def envelope(**more):
    return Envelope(id="chatcmpl-1", created=1700000000, model="phi3", fingerprint="fp_1", **more)


def chat(deltas, *, include_usage=False, **more):
    return list(openai_stream.chat(envelope(**more), deltas, include_usage=include_usage))


def completion(deltas, *, include_usage=False, **more):
    return list(openai_stream.completion(envelope(**more), deltas, include_usage=include_usage))


def test_a_chat_opens_with_the_role_and_ends_with_the_reason():
    chunks = chat([Delta(0, "Mad"), Delta(0, "rid", finish=Finish.STOP), END])
    assert [chunk["choices"] for chunk in chunks] == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "Mad"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "rid"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
    ]
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert (chunk["id"], chunk["created"]) == ("chatcmpl-1", 1700000000)
        assert (chunk["model"], chunk["system_fingerprint"]) == ("phi3", "fp_1")
        assert "usage" not in chunk
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_usage_comes_last_and_is_null_before():
    chunks = chat([Delta(0, "x", finish=Finish.LENGTH), END], include_usage=True)
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
    assert ChatCompletionChunk.model_validate(chunks[-1], strict=True).usage is not None


def test_every_choice_opens_with_its_role():
    deltas = [
        Delta(1, "b"),
        Delta(0, "a", finish=Finish.STOP),
        Delta(1, "", finish=Finish.LENGTH),
        END,
    ]
    chunks = chat(deltas, include_usage=True)
    roles = [
        chunk["choices"][0]["index"]
        for chunk in chunks[:-1]
        if "role" in chunk["choices"][0]["delta"]
    ]
    assert roles == [1, 0]
    assert [len(chunk["choices"]) for chunk in chunks] == [1, 1, 1, 1, 1, 1, 0]


def parts(chunks):
    return [chunk["choices"][0]["delta"] for chunk in chunks]


def test_calls_of_tools():
    head, rest = CallDelta(0, "call_1", "add"), CallDelta(0, arguments='{"a": 1}')
    chunks = chat(
        [
            Delta(0, calls=(head,)),
            Delta(0, calls=(rest, CallDelta(1, "call_2", "now"))),
            Delta(0, calls=(CallDelta(1, arguments="{}"),)),
            Delta(0, finish=Finish.TOOL_CALLS),
            END,
        ]
    )
    function = {"name": "add", "arguments": ""}
    other = {"name": "now", "arguments": ""}
    assert parts(chunks) == [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": other}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_words_come_before_calls():
    deltas = [
        Delta(0, "Hm.", calls=(CallDelta(0, "call_1", "now"),)),
        Delta(0, finish=Finish.LENGTH),
    ]
    found = parts(chat([*deltas, END]))
    assert found[:2] == [{"role": "assistant", "content": ""}, {"content": "Hm."}]
    assert found[2]["tool_calls"][0]["id"] == "call_1"


def test_an_empty_answer_still_has_role_and_reason():
    chunks = chat([Delta(0, finish=Finish.STOP), END])
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_log_probabilities_ride_on_their_text():
    token = TokenLogprob(1, "x", b"x", -0.5)
    chunks = chat([Delta(0, "x", (token,)), Delta(0, finish=Finish.STOP), END], logprobs=0)
    assert chunks[0]["choices"][0]["logprobs"] is None
    assert chunks[1]["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5
    assert chunks[2]["choices"][0]["logprobs"] is None


def test_log_probabilities_without_text_are_not_lost():
    token = TokenLogprob(1, "x", b"x", -0.5)
    chunks = chat([Delta(0, "", (token,), Finish.STOP), END], logprobs=0)
    assert chunks[1]["choices"][0]["delta"] == {"content": ""}
    assert len(chunks[1]["choices"][0]["logprobs"]["content"]) == 1


def test_a_text_completion():
    token = TokenLogprob(1, "x", b"x", -0.5, offset=4)
    deltas = [Delta(0, "x", (token,)), Delta(1), Delta(0, "y", (token,), Finish.LENGTH), END]
    chunks = completion(deltas, include_usage=True, logprobs=1)
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["x", "y"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, "length"]
    assert chunks[0]["choices"][0]["logprobs"]["text_offset"] == [4]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 3
    for chunk in chunks:
        assert chunk["object"] == "text_completion"
    # The client's type has no null for `finish_reason`, which every chunk but the last has.
    for chunk in chunks[1:]:
        Completion.model_validate(chunk)


def test_chunks_come_as_soon_as_their_delta():
    seen = []

    def deltas():
        for text in "ab":
            seen.append(text)
            yield Delta(0, text)

    stream = openai_stream.completion(envelope(), deltas(), include_usage=False)
    next(stream)
    assert seen == ["a"]


@pytest.mark.parametrize(
    ("finish", "error"), [(Finish.CANCELLED, Cancelled), (Finish.ERROR, EngineFailed)]
)
def test_a_choice_that_did_not_end_well_raises(finish, error):
    for stream in (chat, completion):
        with pytest.raises(error):
            stream([Delta(0, "half", finish=finish)])


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=3)), max_size=12))
def test_chunks_add_up_to_the_text_of_each_choice(pieces):
    deltas = [Delta(index, text) for index, text in pieces]
    whole = {index: "".join(text for i, text in pieces if i == index) for index in range(3)}
    for stream, read in (
        (chat, lambda choice: choice["delta"].get("content", "")),
        (completion, lambda choice: choice["text"]),
    ):
        joined = dict.fromkeys(range(3), "")
        for chunk in stream([*deltas, END]):
            choice = chunk["choices"][0]
            joined[choice["index"]] += read(choice)
        assert joined == whole
