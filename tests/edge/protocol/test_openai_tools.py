"""The tools of a chat request, and how they may be called."""

from __future__ import annotations

import json

import pytest

from edge.generation import Guidance, Tool, ToolUse
from edge.protocol import openai_tools

from .openai_bodies import chat, completion, refusal

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "The weather.", json.dumps(SCHEMA))
NOW = Tool("now")


def function(name, **more):
    return {"type": "function", "function": {"name": name, **more}}


TOOLS = [function("get_weather", description="The weather.", parameters=SCHEMA), function("now")]


def asked(**body):
    """(tools shown, their use) of a request with the two tools."""
    request = chat(**{"tools": TOOLS, **body}).request
    return request.prompts[0].tools, request.tool_use


def test_tools_are_shown_and_may_be_called():
    assert asked() == ((WEATHER, NOW), ToolUse((WEATHER, NOW)))
    assert asked(tool_choice="auto") == asked()
    assert asked(tool_choice=None, parallel_tool_calls=None) == asked()


def test_without_parameters_there_are_no_arguments():
    assert json.loads(NOW.parameters) == {"type": "object", "properties": {}}
    assert asked(tools=[function("now", parameters=None)])[0] == (NOW,)


@pytest.mark.parametrize("strict", [True, False, None])
def test_strict_is_always_so(strict):
    assert asked(tools=[function("now", strict=strict)]) == asked(tools=[function("now")])


def test_what_must_be_called():
    shown = (WEATHER, NOW)
    assert asked(tool_choice="required") == (shown, ToolUse(shown, is_required=True))
    named = ToolUse((NOW,), is_required=True, is_parallel=False)
    assert asked(tool_choice=function("now")) == (shown, named)
    # A function that is named is called once, whatever else is allowed.
    assert asked(tool_choice=function("now"), parallel_tool_calls=True) == (shown, named)


def allowed(mode, *names):
    tools = [function(name) for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_tools_that_are_allowed():
    """All tools are shown, so that a cached prompt stays the same; some may be called."""
    shown = (WEATHER, NOW)
    assert asked(tool_choice=allowed("auto", "now")) == (shown, ToolUse((NOW,)))
    assert asked(tool_choice=allowed("required", "now", "get_weather", "now")) == (
        shown,
        ToolUse(shown, is_required=True),
    )


def test_one_call_at_a_time():
    assert asked(parallel_tool_calls=False)[1] == ToolUse((WEATHER, NOW), is_parallel=False)
    assert asked(parallel_tool_calls=True) == asked()
    required = asked(parallel_tool_calls=False, tool_choice="required")[1]
    assert required == ToolUse((WEATHER, NOW), is_required=True, is_parallel=False)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": []},
        {"tools": None},
        {"tool_choice": "none"},
        {"tool_choice": "auto"},
        {"parallel_tool_calls": True},
        {"parallel_tool_calls": False},
        {"tools": TOOLS, "tool_choice": "none"},
    ],
)
def test_where_nothing_may_be_called_nothing_is_shown(body):
    assert chat(**body) == chat()


def test_tools_are_read_even_where_none_may_be_called():
    assert refusal(chat, tools=[function("a b")], tool_choice="none").param == (
        "tools[0].function.name"
    )


@pytest.mark.parametrize(
    "name", ["f", "get-weather_2", "A" * 64, "0", "_", "-"], ids=lambda name: name[:8]
)
def test_names(name):
    assert asked(tools=[function(name)])[0] == (Tool(name),)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ("now", "tools"),
        ({}, "tools"),
        (["now"], "tools[0]"),
        ([{"function": {"name": "f"}}], "tools[0].type"),
        ([{"type": "web_search"}], "tools[0].type"),
        ([{"type": "custom", "custom": {"name": "f"}}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "name": "f"}], "tools[0].name"),
        ([{"type": "function", "function": "f"}], "tools[0].function"),
        ([function(None)], "tools[0].function.name"),
        ([function(3)], "tools[0].function.name"),
        ([function("")], "tools[0].function.name"),
        ([function("get weather")], "tools[0].function.name"),
        ([function("größe")], "tools[0].function.name"),
        ([function("f\n")], "tools[0].function.name"),
        ([function("A" * 65)], "tools[0].function.name"),
        ([function("f"), function("g"), function("f")], "tools[2].function.name"),
        ([function("f", description=3)], "tools[0].function.description"),
        ([function("f", description="\ud800")], "tools[0].function.description"),
        ([function("f", strict="yes")], "tools[0].function.strict"),
        ([function("f", parameters=[])], "tools[0].function.parameters"),
        ([function("f", parameters="{}")], "tools[0].function.parameters"),
        ([function("f", parameters={"type": "array"})], "tools[0].function.parameters.type"),
        ([function("f", parameters={"type": ["object"]})], "tools[0].function.parameters.type"),
        ([function("f", parameters={"title": "\udfff"})], "tools[0].function.parameters"),
        ([function("f", parameter={})], "tools[0].function.parameter"),
        ([function(f"f{n}") for n in range(129)], "tools"),
    ],
)
def test_the_tool_at_fault_is_named(tools, param):
    assert refusal(chat, tools=tools).param == param


def test_a_schema_nested_too_deeply():
    schema = {"type": "string"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"a": schema}}
    error = refusal(chat, tools=[function("f", parameters=schema)])
    assert error.param == "tools[0].function.parameters"
    assert "100 deep" in str(error)


def test_as_many_as_openai_allows():
    assert len(asked(tools=[function(f"f{n}") for n in range(openai_tools.MAX_TOOLS)])[0]) == 128


def test_custom_tools_are_refused_with_a_sentence():
    error = refusal(chat, tools=[{"type": "custom", "custom": {"name": "f"}}])
    assert "only functions are supported" in str(error)
    choice = {"type": "custom", "custom": {"name": "f"}}
    error = refusal(chat, tools=TOOLS, tool_choice=choice)
    assert error.param == "tool_choice.type"
    assert "only functions are supported" in str(error)


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("now", "tool_choice"),
        ("any", "tool_choice"),
        (3, "tool_choice"),
        ([], "tool_choice"),
        ({}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function", "name": "now"}, "tool_choice.name"),
        ({"type": "function", "function": "now"}, "tool_choice.function"),
        (function(None), "tool_choice.function.name"),
        (function("later"), "tool_choice.function.name"),
        (function("now", strict=True), "tool_choice.function.strict"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": TOOLS}},
            "tool_choice.allowed_tools.mode",
        ),
        (allowed("none", "now"), "tool_choice.allowed_tools.mode"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}},
            "tool_choice.allowed_tools.tools",
        ),
        (allowed("auto"), "tool_choice.allowed_tools.tools"),
        (allowed("auto", "now", "later"), "tool_choice.allowed_tools.tools[1].function.name"),
    ],
)
def test_the_choice_at_fault_is_named(choice, param):
    assert refusal(chat, tools=TOOLS, tool_choice=choice).param == param


def test_errors_say_what_was_expected():
    error = str(refusal(chat, tools=TOOLS, tool_choice=function("later")))
    assert error == ('tool_choice.function.name is "later", expected the name of one of the tools')
    error = str(refusal(chat, tools=[function("get weather")]))
    assert '"get weather"' in error
    assert "letters, digits, underscores and hyphens" in error


@pytest.mark.parametrize("choice", ["required", function("now"), allowed("auto", "now")])
def test_a_choice_needs_tools(choice):
    error = refusal(chat, tool_choice=choice)
    assert (error.param, "needs tools" in str(error)) == ("tool_choice", True)


@pytest.mark.parametrize("value", ["true", 1, [True]])
def test_parallel_calls_are_true_or_false(value):
    assert refusal(chat, tools=TOOLS, parallel_tool_calls=value).param == "parallel_tool_calls"


def test_a_response_format_can_stand_beside_tools():
    request = chat(tools=TOOLS, response_format={"type": "json_object"}).request
    assert request.sampling.guidance == Guidance("json_object")
    assert request.tool_use == ToolUse((WEATHER, NOW))


def test_structured_outputs_cannot():
    body = {"tools": TOOLS, "structured_outputs": {"regex": "a+"}}
    error = refusal(chat, **body)
    assert (error.param, "beside tools" in str(error)) == ("structured_outputs", True)
    assert chat(**body, tool_choice="none").request.sampling.guidance == Guidance("regex", "a+")


@pytest.mark.parametrize("name", sorted(openai_tools.KNOWN))
def test_completions_have_no_tools(name):
    error = refusal(completion, **{name: TOOLS})
    assert (error.param, "POST /v1/chat/completions" in str(error)) == (name, True)
