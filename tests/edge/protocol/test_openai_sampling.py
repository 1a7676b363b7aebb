"""Parameters of both operations: ranges, defaults, log-probabilities, response formats."""

from __future__ import annotations

import json

import pytest

from edge.bundle import Defaults
from edge.generation import Sampling
from edge.protocol import openai_request

from .openai_bodies import MESSAGES, chat, completion, refusal


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
