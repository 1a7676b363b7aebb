"""What is not supported is refused by name; what asks for nothing is accepted."""

from __future__ import annotations

import pytest

from edge.protocol import openai_refusals

from .openai_bodies import MESSAGES, chat, completion, refusal


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("audio", [{"voice": "alloy", "format": "wav"}]),
        ("function_call", ["auto", {"name": "f"}]),
        ("functions", [[{"name": "f"}]]),
        ("modalities", [["text", "audio"], ["audio"], []]),
        ("moderation", [{"model": "m"}]),
        ("prediction", [{"type": "content", "content": "x"}]),
        ("prompt_cache_options", [{"mode": "implicit"}]),
        ("prompt_cache_retention", ["24h"]),
        ("reasoning_effort", ["low", "high"]),
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


def test_suffix_is_refused():
    assert refusal(completion, suffix="end").param == "suffix"
    assert completion(suffix="") == completion()
