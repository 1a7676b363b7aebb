"""Bodies of chat and text completions: every parameter, its range, its default, its refusal."""

from __future__ import annotations

import json

import pytest

from edge.bundle import Defaults
from edge.errors import InvalidRequest
from edge.generation import Guidance, Message, Prompt, Sampling
from edge.protocol import openai_refusals, openai_request

NONE = Defaults()
MESSAGES = [{"role": "user", "content": "Hello"}]


def chat(**body):
    return openai_request.chat({"messages": MESSAGES, **body}, NONE)


def completion(**body):
    return openai_request.completion({"prompt": "Hello", **body}, NONE)


def refusal(operation, **body) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        operation(**body)
    return caught.value


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


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": -0.01}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": float("-inf")}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": "\udc80"}, "stop"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": False}, "n"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 11}, "repetition_penalty"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"hello": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"01": 1}}, "logit_bias"),
        ({"logit_bias": {"\u0661": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 30: 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": {"5": None}}, "logit_bias.5"),
        ({"logit_bias": {str(key): 0 for key in range(1025)}}, "logit_bias"),
        ({"user": 3}, "user"),
        ({"user": "\ud800"}, "user"),
        ({"model": ["phi3"]}, "model"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {"k": None}}, "metadata.k"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {str(key): "v" for key in range(17)}}, "metadata"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": True}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stream": True, "stream_options": {"every": 1}}, "stream_options.every"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({"store": True}, "store"),
        ({"store": 0}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"do_sample": True}, "do_sample"),
        ({"extra_body": {}}, "extra_body"),
    ],
)
@pytest.mark.parametrize("operation", [chat, completion])
def test_values_out_of_range_name_their_field(operation, body, param):
    error = refusal(operation, **body)
    assert error.param == param
    assert param.split("[")[0] in str(error)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("audio", [{"voice": "alloy", "format": "wav"}]),
        ("function_call", ["auto", {"name": "f"}]),
        ("functions", [[{"name": "f"}]]),
        ("modalities", [["text", "audio"], ["audio"], []]),
        ("moderation", [{"model": "m"}]),
        ("parallel_tool_calls", [True, False]),
        ("prediction", [{"type": "content", "content": "x"}]),
        ("prompt_cache_options", [{"mode": "implicit"}]),
        ("prompt_cache_retention", ["24h"]),
        ("reasoning_effort", ["low", "high"]),
        ("tool_choice", ["auto", "required", {"type": "function"}]),
        ("tools", [[{"type": "function", "function": {"name": "f"}}]]),
        ("verbosity", ["low", "medium"]),
        ("web_search_options", [{}]),
        ("store", [True]),
        ("service_tier", ["flex", "priority"]),
    ],
)
def test_what_a_chat_does_not_have_is_refused_by_name(name, values):
    for value in values:
        error = refusal(chat, **{name: value})
        assert error.param == name
        assert "not supported" in str(error)


def test_every_refused_parameter_of_a_chat_has_its_test_above():
    marks = test_what_a_chat_does_not_have_is_refused_by_name.pytestmark
    named = {name for mark in marks for name, _ in mark.args[1]}
    assert named == set(openai_refusals.CHAT)


@pytest.mark.parametrize(
    "body",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"functions": []},
        {"function_call": "none"},
        {"modalities": ["text"]},
        {"reasoning_effort": "none"},
        {"store": False},
        {"service_tier": "default"},
        {"logit_bias": {}},
        {"metadata": {}},
        {"stop": []},
        {"response_format": {"type": "text"}},
        {"top_k": -1},
        {"top_logprobs": 0},
        {"logprobs": False},
        {"safety_identifier": "a", "prompt_cache_key": "b", "user": "c"},
        {"stream": False},
    ],
)
def test_what_asks_for_nothing_else_is_accepted(body):
    assert chat(**body) == chat()


def test_parameters_of_the_other_operation_say_so():
    assert "POST /v1/completions" in str(refusal(chat, echo=True))
    assert "POST /v1/completions" in str(refusal(chat, prompt="x"))
    assert "POST /v1/chat/completions" in str(refusal(completion, messages=MESSAGES))
    assert "max_tokens" in str(refusal(completion, max_completion_tokens=3))
    assert "logprobs" in str(refusal(completion, top_logprobs=3))
    assert refusal(completion, tools=[{}]).param == "tools"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("max_new_tokens", "max_tokens"),
        ("repeat_penalty", "repetition_penalty"),
        ("temprature", "temperature"),
        ("topk", "top_k"),
        ("stops", "stop"),
    ],
)
def test_names_that_other_servers_use_point_to_ours(given, meant):
    assert f"did you mean {meant}?" in str(refusal(completion, **{given: 1}))


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


def test_stop_may_be_one_string():
    assert chat(stop="\n").request.stop == ("\n",)


def test_top_p_of_nothing_is_greedy():
    sampling = chat(top_p=0, temperature=1.5).request.sampling
    assert (sampling.temperature, sampling.top_p) == (0.0, 1.0)


def test_chat_logprobs():
    assert chat().request.sampling.logprobs is None
    assert chat(logprobs=True).request.sampling.logprobs == 0
    assert chat(logprobs=True, top_logprobs=20).request.sampling.logprobs == 20
    assert refusal(chat, top_logprobs=1).param == "top_logprobs"
    assert refusal(chat, logprobs=True, top_logprobs=21).param == "top_logprobs"
    assert refusal(chat, logprobs=5).param == "logprobs"


def test_completion_logprobs():
    assert completion(logprobs=0).request.sampling.logprobs == 0
    assert completion(logprobs=20).request.sampling.logprobs == 20
    assert refusal(completion, logprobs=21).param == "logprobs"
    assert refusal(completion, logprobs=True).param == "logprobs"


def test_echo_may_generate_nothing():
    call = completion(echo=True, max_tokens=0)
    assert (call.request.echo, call.request.max_tokens) == (True, 0)
    assert refusal(completion, echo="yes").param == "echo"


def test_best_of_is_n_or_refused():
    assert completion(n=3, best_of=3).request.n == 3
    assert completion(best_of=1).request.n == 1
    assert refusal(completion, best_of=2).param == "best_of"
    assert refusal(completion, n=2, best_of=1).param == "best_of"


def test_suffix_is_refused():
    assert refusal(completion, suffix="end").param == "suffix"
    assert completion(suffix="") == completion()


def test_a_batch_of_prompts():
    call = openai_request.completion({"prompt": [[1, 2], [3]], "n": 2}, NONE)
    assert call.request.prompts == (Prompt(ids=(1, 2)), Prompt(ids=(3,)))


def test_a_json_schema_becomes_guidance():
    schema = {"type": "object", "properties": {"caf\u00e9": {"type": "number"}}}
    for strict in (True, False, None):
        body = {"name": "n", "description": "d", "schema": schema, "strict": strict}
        call = chat(response_format={"type": "json_schema", "json_schema": body})
        guidance = call.request.sampling.guidance
        assert guidance is not None
        assert guidance.kind == "json_schema"
        assert json.loads(guidance.source) == schema


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ("json_object", "response_format"),
        ({}, "response_format.type"),
        ({"type": "yaml"}, "response_format.type"),
        ({"type": 3}, "response_format.type"),
        ({"type": "text", "schema": {}}, "response_format.schema"),
        ({"type": "json_object", "json_schema": {}}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": 3}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.name"),
        (
            {"type": "json_schema", "json_schema": {"name": "n"}},
            "response_format.json_schema.schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": True}},
            "response_format.json_schema.schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": 1}},
            "response_format.json_schema.strict",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"x": float("nan")}}},
            "response_format.json_schema.schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"x": "\ud800"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_response_formats_that_are_none(form, param):
    assert refusal(chat, response_format=form).param == param


def test_a_schema_deeper_than_the_stack_is_refused():
    schema: dict = {}
    for _ in range(100_000):
        schema = {"items": schema}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert refusal(chat, response_format=form).param == "response_format.json_schema.schema"
    while schema:
        schema = schema.pop("items")


def test_the_bundle_decides_what_the_request_leaves_open():
    defaults = Defaults(
        max_tokens=9,
        temperature=0.2,
        top_p=0.8,
        top_k=7,
        repetition_penalty=1.2,
        stop=("<|end|>",),
        seed=11,
    )
    request = openai_request.chat({"messages": MESSAGES}, defaults).request
    assert request.sampling == Sampling(
        temperature=0.2, top_p=0.8, top_k=7, repetition_penalty=1.2, seed=11
    )
    assert request.stop == ("<|end|>",)
    assert request.max_tokens is None


def test_the_request_overrules_the_bundle_even_with_nothing():
    defaults = Defaults(temperature=0.2, top_p=0.8, top_k=7, stop=("x",), seed=11)
    body = {
        "messages": MESSAGES,
        "temperature": 0,
        "top_p": 1,
        "top_k": 0,
        "stop": [],
        "seed": 0,
    }
    request = openai_request.chat(body, defaults).request
    assert request.sampling == Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=0)
    assert request.stop == ()


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
