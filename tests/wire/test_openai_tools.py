"""Tools with the official `openai` client: scripted answers for what is exact, a real model for
what is bound by a grammar."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import openai
import pytest
from jsonschema import Draft202012Validator
from openai import OpenAI
from pydantic import BaseModel, Field

from edge import bundle
from tests.edge.engine import marked, templates

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
ADD_SCHEMA = {
    "type": "object",
    "properties": {
        name: {"type": "integer", "minimum": 0, "maximum": 99} for name in ("first", "second")
    },
    "required": ["first", "second"],
    "additionalProperties": False,
}
SCHEMAS = {"get_weather": WEATHER_SCHEMA, "add-2": ADD_SCHEMA}
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": f"Does {name}.", "parameters": schema},
    }
    for name, schema in SCHEMAS.items()
]
ADD = {"type": "function", "function": {"name": "add-2"}}
CALL = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "unit": "C"}}\n</tool_call>'
)
# The last entry of the vocabulary makes room for the marker.
MARKER_ID = "3071"
QUESTION = [{"role": "user", "content": "What is the weather in Rome?"}]


class Sum(BaseModel):
    """Adds two numbers."""

    first: int = Field(ge=0, le=99)
    second: int = Field(ge=0, le=99)


class Sky(BaseModel):
    """What the answer is in, where no tool is called."""

    sky: Literal["blue", "grey"]


def said(text):
    return [{"role": "user", "content": text}]


def assert_valid(call):
    """The call is of one of the tools, and its arguments follow the schema."""
    assert call.type == "function"
    assert call.id.startswith("call_")
    Draft202012Validator(SCHEMAS[call.function.name]).validate(json.loads(call.function.arguments))


@pytest.fixture(scope="module")
def marked_caller(serve, seal, demo_model, tmp_path_factory):
    """The client of the model in the box with a template that knows tools, and a special token
    for calls."""
    folder = tmp_path_factory.mktemp("bracketed")
    model = marked.write(folder / bundle.MODEL_FOLDER, demo_model, {"[TOOL_CALLS]": True})
    (model / "chat_template.jinja").write_text(templates.BRACKETED)
    served = serve("--bundle", str(seal(folder)))
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module", params=["talker", "marked_caller"])
def caller(request):
    """The client of the model in the box as it is, and of the one with a marker of its own."""
    return request.getfixturevalue(request.param)


# Scripted


def test_a_call_and_its_shape(client):
    answer = client.chat.completions.create(model="echo", messages=said(CALL), tools=TOOLS)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments == '{"city": "Rome", "unit": "C"}'
    assert answer.usage.completion_tokens == len(CALL)


def test_words_and_several_calls(client):
    other = CALL.replace("Rome", "Oslo")
    text = f"Let me see.\n{CALL}\n{other}"
    message = (
        client.chat.completions.create(model="echo", messages=said(text), tools=TOOLS)
        .choices[0]
        .message
    )
    assert message.content == "Let me see."
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    assert cities == ["Rome", "Oslo"]
    assert message.tool_calls[0].id != message.tool_calls[1].id


def test_plain_words_with_tools_at_hand(client):
    answer = client.chat.completions.create(model="echo", messages=said("hi"), tools=TOOLS)
    assert answer.choices[0].message.content == "hi"
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


def test_where_no_tool_may_be_called_the_same_is_text(client):
    for more in ({"tools": TOOLS, "tool_choice": "none"}, {}):
        answer = client.chat.completions.create(model="echo", messages=said(CALL), **more)
        assert answer.choices[0].message.content == CALL
        assert answer.choices[0].finish_reason == "stop"


def test_a_stream_of_calls(client):
    text = f"Well.\n{CALL}\n{CALL}"
    stream = client.chat.completions.create(
        model="echo",
        messages=said(text),
        tools=TOOLS,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    assert last.usage.completion_tokens == len(text)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "Well."
    pieces = [piece for delta in deltas for piece in delta.tool_calls or []]
    heads = [piece for piece in pieces if piece.id]
    assert [(head.index, head.type, head.function.name) for head in heads] == [
        (0, "function", "get_weather"),
        (1, "function", "get_weather"),
    ]
    assert all(head.function.arguments == "" for head in heads)
    for index in (0, 1):
        own = [piece.function.arguments for piece in pieces if piece.index == index]
        assert "".join(own) == '{"city": "Rome", "unit": "C"}'
        assert len(own) > 10
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_stream_helper_of_the_client(client):
    with client.chat.completions.stream(model="echo", messages=said(CALL), tools=TOOLS) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [event.name for event in done] == ["get_weather"]
    assert json.loads(done[0].arguments) == {"city": "Rome", "unit": "C"}
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].function.arguments == done[0].arguments


def test_a_conversation_over_a_call_and_its_result(client):
    first = client.chat.completions.create(model="echo", messages=said(CALL), tools=TOOLS)
    message = first.choices[0].message
    messages = [
        *said(CALL),
        message,
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It is sunny."},
    ]
    second = client.chat.completions.create(model="echo", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "It is sunny."


def test_several_choices_call_for_themselves(client):
    answer = client.chat.completions.create(model="echo", messages=said(CALL), tools=TOOLS, n=3)
    ids = {choice.message.tool_calls[0].id for choice in answer.choices}
    assert len(ids) == 3


def test_an_answer_cut_within_its_call(client):
    answer = client.chat.completions.create(
        model="echo", messages=said(CALL), tools=TOOLS, max_tokens=CALL.index("Ro") + 2
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls[0].function.arguments == '{"city": "Ro'


def test_stop_strings_leave_calls_alone(client):
    answer = client.chat.completions.create(
        model="echo", messages=said(CALL), tools=TOOLS, stop=["Rome", "}"]
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert "Rome" in choice.message.tool_calls[0].function.arguments


def test_what_the_client_gets_wrong_is_named(client):
    def param(**body):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="echo", **{"messages": said("x"), **body})
        return caught.value.param

    assert param(tools=[*TOOLS, TOOLS[0]]) == "tools[2].function.name"
    unknown = {"type": "function", "function": {"name": "other"}}
    assert param(tools=TOOLS, tool_choice=unknown) == "tool_choice.function.name"
    assert param(tool_choice="required") == "tool_choice"
    assert param(tools=TOOLS, tool_choice="required") == "tool_choice"  # an echo obeys nobody
    orphan = [*said("x"), {"role": "tool", "tool_call_id": "call_1", "content": "y"}]
    assert param(messages=orphan) == "messages[1].tool_call_id"


def test_the_metrics_count_calls(echo, client):
    client.chat.completions.create(model="echo", messages=said(CALL), tools=TOOLS)
    page = openai.DefaultHttpxClient().get(f"{echo.url}/metrics").text
    assert 'finish_reason="tool_calls"' in page


# A real model


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_required_is_valid(caller, seed, stream):
    body = {
        "model": "demo",
        "messages": QUESTION,
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 1.5,
        "seed": seed,
        "max_tokens": 400,
    }
    if stream:
        with caller.chat.completions.stream(**body) as events:
            for _ in events:
                pass
            (choice,) = events.get_final_completion().choices
    else:
        (choice,) = caller.chat.completions.create(**body).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert_valid(call)


def test_streamed_or_whole_the_call_is_the_same(caller):
    body = {"model": "demo", "messages": QUESTION, "tools": TOOLS, "tool_choice": ADD}
    body |= {"temperature": 0, "max_tokens": 200}
    whole = caller.chat.completions.create(**body).choices[0].message.tool_calls[0].function
    pieces = [
        piece.function
        for chunk in caller.chat.completions.create(**body, stream=True)
        for piece in chunk.choices[0].delta.tool_calls or []
    ]
    assert pieces[0].name == whole.name == "add-2"
    assert "".join(piece.arguments or "" for piece in pieces) == whole.arguments


def test_several_calls_are_all_valid(caller):
    answer = caller.chat.completions.create(
        model="demo",
        messages=QUESTION,
        tools=TOOLS,
        tool_choice="required",
        temperature=1,
        seed=1,
        max_tokens=1500,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert 1 <= len(choice.message.tool_calls) <= 16
    for call in choice.message.tool_calls:
        assert_valid(call)


def test_a_named_function_is_called_once(caller):
    answer = caller.chat.completions.create(
        model="demo", messages=QUESTION, tools=TOOLS, tool_choice=ADD, n=3, temperature=1, seed=5
    )
    for choice in answer.choices:
        (call,) = choice.message.tool_calls
        assert call.function.name == "add-2"
        assert_valid(call)


def test_only_tools_that_are_allowed_are_called(caller):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [ADD]}}
    answer = caller.chat.completions.create(
        model="demo",
        messages=QUESTION,
        tools=TOOLS,
        tool_choice=allowed,
        parallel_tool_calls=False,
        max_tokens=400,
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "add-2"


def test_auto_leaves_words_to_the_model(caller):
    """The model was not trained for tools: what it says is text, as without them."""
    answer = caller.chat.completions.create(
        model="demo",
        messages=QUESTION,
        tools=TOOLS,
        temperature=0,
        max_tokens=24,
        logprobs=True,
        top_logprobs=2,
    )
    (choice,) = answer.choices
    assert choice.message.content
    assert choice.message.tool_calls is None
    assert len(choice.logprobs.content) >= 1
    assert answer.usage.prompt_tokens > len(TOOLS) * 20


def test_a_marker_in_the_models_mouth_binds_what_follows(marked_caller):
    """A bias makes the model say its marker; the rest is a call, whatever it would have said."""
    answer = marked_caller.chat.completions.create(
        model="demo",
        messages=QUESTION,
        tools=TOOLS,
        parallel_tool_calls=False,
        logit_bias={MARKER_ID: 100},
        temperature=0,
        max_tokens=300,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert_valid(choice.message.tool_calls[0])


def test_a_pydantic_tool(caller):
    answer = caller.chat.completions.parse(
        model="demo",
        messages=QUESTION,
        tools=[openai.pydantic_function_tool(Sum)],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=1,
        max_tokens=200,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Sum)


def test_a_format_for_the_words_beside_tools(caller):
    answer = caller.chat.completions.parse(
        model="demo",
        messages=QUESTION,
        tools=[openai.pydantic_function_tool(Sum)],
        response_format=Sky,
        temperature=0,
        max_tokens=400,
    )
    message = answer.choices[0].message
    assert message.tool_calls or isinstance(message.parsed, Sky)


def test_a_whole_round_with_a_tool(caller):
    body = {"model": "demo", "tools": TOOLS, "temperature": 0, "max_tokens": 60}
    first = caller.chat.completions.create(
        messages=QUESTION, tool_choice=ADD, **body | {"max_tokens": 200}
    )
    message = first.choices[0].message
    chat = [
        *QUESTION,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "42"},
    ]
    for more in ({}, {"tool_choice": "none"}):
        second = caller.chat.completions.create(messages=chat, **body, **more)
        assert second.choices[0].finish_reason in ("stop", "length", "tool_calls")
        assert second.usage.prompt_tokens > first.usage.prompt_tokens or more


def test_a_schema_that_cannot_be_followed(caller):
    bad = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    tool = {"type": "function", "function": {"name": "bad", "parameters": bad}}
    with pytest.raises(openai.BadRequestError) as caught:
        caller.chat.completions.create(model="demo", messages=QUESTION, tools=[*TOOLS, tool])
    assert caught.value.param == "tools"
    assert "the tool bad" in caught.value.message


def test_many_callers_at_once(caller):
    """Some call, some talk, some are bound otherwise: each gets its own."""

    def ask(number):
        body = {"model": "demo", "messages": QUESTION, "temperature": 1, "seed": number}
        if number % 3 == 0:
            body |= {"tools": TOOLS, "tool_choice": ADD, "max_tokens": 200}
        elif number % 3 == 1:
            body |= {"extra_body": {"structured_outputs": {"regex": f"n{number}x"}}}
        else:
            body |= {"max_tokens": 10}
        return number, caller.chat.completions.create(**body).choices[0]

    with ThreadPoolExecutor(12) as pool:
        for number, choice in pool.map(ask, range(36)):
            if number % 3 == 0:
                assert_valid(choice.message.tool_calls[0])
            elif number % 3 == 1:
                assert choice.message.content == f"n{number}x"
            else:
                assert choice.message.content is not None
                assert choice.message.tool_calls is None


# What binds text without tools


@pytest.mark.parametrize(
    ("outputs", "is_right"),
    [
        ({"regex": "[0-9]{3}-[ab]"}, lambda text: len(text) == 5 and text[:3].isdigit()),
        ({"choice": ["left\n", "right"]}, lambda text: text in ("left\n", "right")),
        ({"grammar": 'start: ("a" | "b") "!"'}, lambda text: text in ("a!", "b!")),
        (
            {"json": {"enum": ["x", 1]}},
            lambda text: json.loads(text) in ("x", 1),
        ),
    ],
)
def test_structured_outputs(talker, outputs, is_right):
    chat = talker.chat.completions.create(
        model="demo", messages=QUESTION, temperature=1, extra_body={"structured_outputs": outputs}
    )
    assert is_right(chat.choices[0].message.content)
    assert chat.choices[0].finish_reason == "stop"
    text = talker.completions.create(
        model="demo", prompt="x", temperature=1, extra_body={"structured_outputs": outputs}
    )
    assert is_right(text.choices[0].text)


def test_structured_outputs_that_are_none(talker):
    for outputs, fault in (({"regex": "a(b"}, "unclosed group"), ({"grammar": "start: x"}, "x")):
        with pytest.raises(openai.BadRequestError) as caught:
            talker.completions.create(
                model="demo", prompt="x", extra_body={"structured_outputs": outputs}
            )
        assert caught.value.param == "structured_outputs"
        assert fault in caught.value.message
