"""Conversations and prompts with their options beside them, in every format."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mlflow.types.llm import CHAT_MODEL_INPUT_SCHEMA, COMPLETIONS_MODEL_INPUT_SCHEMA

from edge.errors import InvalidRequest, MalformedBody, RequestError
from edge.generation import Message
from edge.protocol import scoring_llm
from edge.protocol.scoring_llm import Kind

HI = [{"role": "user", "content": "Hi"}]
HO = [{"role": "user", "content": "Ho"}]
ROWS = ((Message("user", "Hi"),), (Message("user", "Ho"),))


@pytest.mark.parametrize(
    ("schema", "column"),
    [(CHAT_MODEL_INPUT_SCHEMA, "messages"), (COMPLETIONS_MODEL_INPUT_SCHEMA, "prompt")],
)
def test_every_column_that_mlflow_declares_is_known(schema: Any, column: str) -> None:
    known = {option.name: option for option in scoring_llm.OPTIONS}
    for declared in schema.inputs:
        if declared.name == column or declared.name in scoring_llm.REFUSED:
            continue
        option = known[declared.name]
        kind = declared.type.dtype if option.is_list else declared.type
        assert kind.name == option.type


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataframe_records", [{"messages": HI}, {"messages": HO, "x": 1}]),
        ("dataframe_split", {"columns": ["x", "messages"], "data": [[1, HI], [2, HO]]}),
        ("dataframe_split", {"data": [{"messages": HI}, {"x": 1, "messages": HO}]}),
        ("dataframe_split", {"data": {"messages": [HI, HO]}}),
        ("inputs", [{"messages": HI}, {"messages": HO}]),
        ("inputs", {"messages": [HI, HO]}),
        ("instances", [{"messages": HI}, {"messages": HO}]),
        ("instances", {"messages": [HI, HO], "x": "y"}),
    ],
)
def test_conversations_in_every_format(name: str, value: object) -> None:
    assert scoring_llm.table(name, value, "chat") == (ROWS, {})


@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_an_object_may_be_one_row(name: str) -> None:
    value = {"messages": HI, "max_tokens": 4, "stop": ["a", "b"]}
    options = {"max_tokens": 4, "stop": ["a", "b"]}
    assert scoring_llm.table(name, value, "chat") == (ROWS[:1], options)
    value = {"prompt": "a", "temperature": 1}
    assert scoring_llm.table(name, value, "completions") == (("a",), {"temperature": 1.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataframe_records", [{"prompt": "a", "n": 2, "stop": ["x"]}] * 2),
        ("dataframe_records", [{"prompt": "a", "n": 2.0, "stop": "x", "top_p": None}] * 2),
        ("dataframe_split", {"columns": ["n", "stop", "prompt"], "data": [[2, ["x"], "a"]] * 2}),
        ("inputs", {"prompt": ["a", "a"], "n": [2, 2], "stop": [["x"], ["x"]]}),
        ("inputs", {"prompt": ["a", "a"], "n": 2, "stop": ["x"]}),
        ("instances", {"prompt": ["a", "a"], "n": 2, "stop": "x"}),
    ],
)
def test_options_stand_in_columns(name: str, value: object) -> None:
    rows, options = scoring_llm.table(name, value, "completions")
    assert (rows, options) == (("a", "a"), {"n": 2, "stop": ["x"]})


def test_the_options_of_an_unwrapped_body() -> None:
    body = {
        "messages": HI,
        "temperature": 1,
        "max_tokens": 5.0,
        "stop": "x",
        "n": 2,
        "stream": True,
        "top_p": 0.5,
        "top_k": 3,
        "frequency_penalty": 0.5,
        "presence_penalty": None,
        "tools": [],
        "custom_inputs": {},
        "foo": 1,
        "prompt": "also here",
    }
    rows, options = scoring_llm.one(body, "chat")
    assert rows == ROWS[:1]
    assert options == {
        "temperature": 1.0,
        "max_tokens": 5,
        "stop": ["x"],
        "n": 2,
        "stream": True,
        "top_p": 0.5,
        "top_k": 3,
        "frequency_penalty": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("max_tokens", 3, 4), ("max_tokens", 3, None), ("max_tokens", None, 3), ("stop", "a", "b")],
)
def test_rows_with_different_options_are_refused(name: str, first: object, second: object) -> None:
    value = [{"messages": HI, name: first}, {"messages": HO, name: second}]
    with pytest.raises(InvalidRequest, match=f"{name} of row 1 is not that of row 0") as caught:
        scoring_llm.table("dataframe_records", value, "chat")
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_tokens": "5"}, "max_tokens is a string, expected a whole number"),
        ({"max_tokens": 5.5}, "max_tokens is 5.5, expected a whole number"),
        ({"max_tokens": True}, "max_tokens is true"),
        ({"temperature": "hot"}, "temperature is a string, expected a number"),
        ({"temperature": True}, "temperature is true"),
        ({"stop": [1]}, "stop is 1, expected a string"),
        ({"stop": {"a": 1}}, "stop is an object, expected a list of strings"),
        ({"stream": 1}, "stream is 1, expected true or false"),
        ({"n": [2]}, "n is a list of 1, expected a whole number"),
        ({"tools": [{}]}, "tools is a list of 1, which is not served here: tools are called at"),
        ({"custom_inputs": {"a": 1}}, "custom_inputs is an object, which is not served here"),
    ],
)
def test_options_of_the_wrong_type(options: dict[str, object], reason: str) -> None:
    for asked in (
        lambda: scoring_llm.one({"messages": HI, **options}, "chat"),
        lambda: scoring_llm.table("dataframe_records", [{"messages": HI, **options}], "chat"),
    ):
        with pytest.raises(InvalidRequest, match=re.escape(reason)):
            asked()


@pytest.mark.parametrize("name", ["dataframe_records", "inputs"])
def test_a_stream_needs_an_unwrapped_body(name: str) -> None:
    with pytest.raises(InvalidRequest, match="stream is true, which needs an unwrapped body"):
        scoring_llm.table(name, [{"messages": HI, "stream": True}], "chat")
    rows = [{"messages": HI, "stream": False}]
    assert scoring_llm.table(name, rows, "chat") == (ROWS[:1], {"stream": False})


@pytest.mark.parametrize(
    ("name", "value", "error", "reason"),
    [
        ("dataframe_records", [], InvalidRequest, "missing inputs ['messages']"),
        ("dataframe_records", [{"x": 1}], InvalidRequest, "missing inputs ['messages']"),
        ("dataframe_records", {"messages": [HI]}, MalformedBody, "expected a list of objects"),
        ("dataframe_records", [{"messages": HI}, 5], MalformedBody, "dataframe_records[1] is 5"),
        ("dataframe_records", [{"messages": HI}, {}], InvalidRequest, "messages of row 1 is null"),
        ("dataframe_records", [{"messages": "x"}], InvalidRequest, "of row 0 is a string"),
        ("dataframe_split", 5, MalformedBody, "dataframe_split is 5"),
        ("dataframe_split", {"columns": ["x"], "data": [[1]]}, InvalidRequest, "missing inputs"),
        ("inputs", ["x"], InvalidRequest, "missing inputs"),
        ("inputs", [HI], InvalidRequest, "missing inputs"),
        ("inputs", HI, InvalidRequest, "missing inputs"),
        ("inputs", "x", InvalidRequest, "missing inputs"),
        ("inputs", {}, InvalidRequest, "missing inputs"),
        ("inputs", {"messages": []}, InvalidRequest, "messages of row 0 is an empty list"),
        ("inputs", {"messages": [HI, HO], "n": [1, 2, 3]}, InvalidRequest, "n is a list of 3"),
        (
            "dataframe_split",
            {"data": {"messages": [HI, HO], "n": [1]}},
            MalformedBody,
            "the columns have 1 and 2 rows",
        ),
    ],
)
def test_tables_that_cannot_be_read(
    name: str, value: object, error: type[RequestError], reason: str
) -> None:
    with pytest.raises(error, match=re.escape(reason)):
        scoring_llm.table(name, value, "chat")


@pytest.mark.parametrize(("signature", "column"), list(scoring_llm.COLUMNS.items()))
def test_the_column_must_be_there(signature: Kind, column: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"Model is missing inputs ['{column}'].")):
        scoring_llm.one({"input": "x"}, signature)


@pytest.mark.parametrize("prompt", [None, 5, ["a"], {}, "\ud800"])
def test_a_prompt_is_a_string(prompt: object) -> None:
    with pytest.raises(InvalidRequest, match=r"prompt is .*, expected (a string|text)"):
        scoring_llm.one({"prompt": prompt}, "completions")
    with pytest.raises(InvalidRequest, match="prompt of row 1 is "):
        scoring_llm.table("inputs", [{"prompt": "a"}, {"prompt": prompt}], "completions")
