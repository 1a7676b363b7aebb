"""Bodies of chat and text completions as calls."""

from __future__ import annotations

import pytest

from edge.errors import InvalidRequest
from edge.generation import Guidance, Message, Prompt, Sampling
from edge.protocol import openai_request

from .openai_bodies import MESSAGES, NONE, chat, completion, refusal


def test_the_least_chat():
    call = openai_request.chat({"messages": MESSAGES}, NONE, "req-1")
    assert call.request.operation == "chat"
    assert call.request.prompts == (Prompt(messages=(Message("user", "Hello"),)),)
    assert call.request.sampling == Sampling()
    assert call.request.max_tokens is None
    assert call.request.stop == ()
    assert call.request.n == 1
    assert call.request.echo is False
    assert call.request.request_id == "req-1"
    assert (call.model, call.stream, call.include_usage, call.metadata) == ("", False, False, {})


def test_the_least_completion():
    call = openai_request.completion({"prompt": "Hello"}, NONE, "req-2")
    assert call.request.operation == "text_completion"
    assert call.request.prompts == (Prompt(text="Hello"),)
    assert call.request.sampling == Sampling()
    assert call.request.request_id == "req-2"


@pytest.mark.parametrize("operation", [chat, completion])
def test_everything_at_once(operation):
    call = operation(
        model="phi3",
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        stop=["a", "b"],
        seed=-3,
        n=2,
        presence_penalty=-1.5,
        frequency_penalty=2,
        repetition_penalty=1.1,
        logit_bias={"5": -100, "0": 2.5},
        response_format={"type": "json_object"},
        user="ann",
        metadata={"k": "v"},
        stream=True,
        stream_options={"include_usage": True},
        store=False,
        service_tier="auto",
    )
    assert call.request.sampling == Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        seed=-3,
        repetition_penalty=1.1,
        presence_penalty=-1.5,
        frequency_penalty=2.0,
        logit_bias={5: -100.0, 0: 2.5},
        guidance=Guidance("json_object"),
    )
    assert (call.request.max_tokens, call.request.n) == (7, 2)
    assert call.request.stop == ("a", "b")
    assert (call.model, call.stream, call.include_usage) == ("phi3", True, True)
    assert call.metadata == {"k": "v"}


@pytest.mark.parametrize(
    ("operation", "known"),
    [(chat, openai_request.CHAT_KNOWN), (completion, openai_request.COMPLETION_KNOWN)],
)
def test_null_is_absent_for_every_parameter(operation, known):
    body = dict.fromkeys(known - {"messages", "prompt"})
    assert operation(**body) == operation()


def test_messages_or_prompt_must_be_there():
    with pytest.raises(InvalidRequest, match=r"^messages is missing") as caught:
        openai_request.chat({}, NONE)
    assert caught.value.param == "messages"
    with pytest.raises(InvalidRequest, match=r"^prompt is missing"):
        openai_request.completion({}, NONE)


def test_max_completion_tokens_is_max_tokens():
    assert chat(max_completion_tokens=5).request.max_tokens == 5
    assert chat(max_tokens=5).request.max_tokens == 5
    assert chat(max_tokens=5, max_completion_tokens=5).request.max_tokens == 5
    assert refusal(chat, max_tokens=5, max_completion_tokens=6).param == "max_tokens"
    assert refusal(chat, max_completion_tokens=0).param == "max_completion_tokens"


def test_echo_may_generate_nothing():
    call = completion(echo=True, max_tokens=0)
    assert (call.request.echo, call.request.max_tokens) == (True, 0)
    assert refusal(completion, echo="yes").param == "echo"


def test_best_of_is_n_or_refused():
    assert completion(n=3, best_of=3).request.n == 3
    assert completion(best_of=1).request.n == 1
    assert refusal(completion, best_of=2).param == "best_of"
    assert refusal(completion, n=2, best_of=1).param == "best_of"


def test_a_batch_of_prompts():
    call = openai_request.completion({"prompt": [[1, 2], [3]], "n": 2}, NONE)
    assert call.request.prompts == (Prompt(ids=(1, 2)), Prompt(ids=(3,)))


@pytest.mark.parametrize(
    "body",
    [
        # What widely used callers send where their user sets nothing.
        {"model": "phi3", "messages": MESSAGES, "stream": False, "n": 1, "temperature": 0.7},
        {"model": "phi3", "messages": MESSAGES, "stream": True, "temperature": None},
        {
            "model": "phi3",
            "messages": MESSAGES,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        {
            "model": "phi3",
            "messages": MESSAGES,
            "max_tokens": 256,
            "temperature": 0,
            "stop": ["\n\n"],
            "seed": 1234,
        },
    ],
)
def test_bodies_of_common_chat_callers(body):
    assert openai_request.chat(body, NONE).model == "phi3"


@pytest.mark.parametrize(
    "body",
    [
        {
            "model": "phi3",
            "prompt": ["Hello"],
            "temperature": 0.7,
            "max_tokens": 256,
            "top_p": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "n": 1,
            "seed": None,
            "logprobs": None,
        },
        {
            "model": "phi3",
            "prompt": [[1, 2, 3], [4]],
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": 1,
            "seed": 1234,
            "echo": True,
        },
    ],
)
def test_bodies_of_common_completion_callers(body):
    assert openai_request.completion(body, NONE).model == "phi3"
