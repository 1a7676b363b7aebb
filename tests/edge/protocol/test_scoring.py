"""Bytes of `POST /invocations` -> `Invocation`."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Column, Signature
from edge.engine import scripted
from edge.errors import InvalidRequest, MalformedBody, RequestError, UnsupportedMedia
from edge.generation import Message
from edge.protocol import scoring
from edge.protocol.scoring import Invocation

ECHO = scripted.manifest("echo").signature
PARAMS = scripted.manifest("echo_params").signature
CHAT = Signature("chat", (Column("messages", "array"), Column("temperature", "double", False)))
COMPLETIONS = Signature("completions", (Column("prompt", "string"),))
UNNAMED = Signature("prompt", (Column("", "string"),), reply="full")
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}
DEFAULTS = {"max_tokens": 16, "temperature": 0.0, "stop": ["<end>"]}


def parse(body: object, signature: Signature = ECHO, media: str = "application/json") -> Invocation:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return scoring.parse(raw, media, signature)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"prompt": "a"}, {"prompt": "b"}]},
        {"dataframe_split": {"columns": ["prompt"], "data": [["a"], ["b"]]}},
        {"instances": ["a", "b"]},
        {"inputs": {"prompt": ["a", "b"]}},
        {"inputs": ["a", "b"], "unknown": 1, "signature_name": "x"},
    ],
)
def test_the_four_formats(body: object) -> None:
    assert parse(body) == Invocation(("a", "b"), {}, is_wrapped=True)


def test_csv() -> None:
    assert parse(b"prompt\na\n", media="text/csv") == Invocation(("a",), {}, is_wrapped=True)
    assert parse(b"prompt\na\n", PARAMS, "text/csv").params == DEFAULTS


def test_no_rows_at_all() -> None:
    assert parse({"inputs": []}).rows == ()


def test_params_of_a_table() -> None:
    body = {"inputs": ["a"], "params": {"max_tokens": 5}}
    assert parse(body, PARAMS).params == {**DEFAULTS, "max_tokens": 5}
    assert parse(body).params == {}


def test_an_unwrapped_prompt() -> None:
    body = {"prompt": "a", "max_tokens": 5, "foo": 1, "params": {"max_tokens": 7}}
    assert parse(body, PARAMS) == Invocation(("a",), {**DEFAULTS, "max_tokens": 5}, False)


@pytest.mark.parametrize(("stream", "wants"), [(True, True), (False, False), (1, False)])
def test_stream(stream: object, wants: bool) -> None:
    assert parse({"prompt": "a", "stream": stream}).wants_stream is wants
    assert parse({**HELLO, "stream": wants}, CHAT).wants_stream is wants


def test_an_unwrapped_prompt_wins_over_a_table() -> None:
    assert parse({"prompt": "x", "inputs": ["a"]}) == Invocation(("x",), {}, False)


@pytest.mark.parametrize("body", [HELLO, {"input": "x"}, {"messages": [], "inputs": ["a"]}])
def test_a_prompt_model_takes_neither_messages_nor_input(body: object) -> None:
    with pytest.raises(InvalidRequest, match="Model is missing inputs"):
        parse(body)


@pytest.mark.parametrize("prompt", [None, 5, True, ["a"], ["a", "b"], {"0": "a"}])
def test_an_unwrapped_prompt_is_one_string(prompt: object) -> None:
    neighbours: list[object] = [None, [1, 2], {}]
    for neighbour in neighbours:
        with pytest.raises(InvalidRequest, match="expected a string"):
            parse({"prompt": prompt, "x": neighbour})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value at line 1, column 1"),
        (b"this is,,,, not valid json", "Expecting value"),
        (b'{"inputs": [', "Expecting value"),
        (b'{"prompt": "\xff"}', "invalid start byte at byte 12"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"prompt": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_what_is_no_json(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        parse(body)
    assert reason in str(caught.value)


@pytest.mark.parametrize("body", [None, 1, "1", [1], True, {}, {"params": {}}, {"Prompt": "a"}])
def test_json_that_is_no_request(body: object) -> None:
    with pytest.raises(MalformedBody, match="exactly one of the input fields"):
        parse(body)


def test_two_formats_are_too_many() -> None:
    with pytest.raises(MalformedBody, match="Received dataframe_records, dataframe_split"):
        parse({"dataframe_records": [], "dataframe_split": {"data": []}})


def test_encodings_that_json_allows() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
        assert parse('{"prompt": "é🦊"}'.encode(encoding)).rows == ("é🦊",)


def test_the_last_of_equal_keys_counts() -> None:
    assert parse(b'{"prompt": "a", "prompt": "b"}').rows == ("b",)


def test_the_media_type_goes_first() -> None:
    with pytest.raises(UnsupportedMedia):
        parse(b"\xff", media="text/plain")


def test_the_column_is_the_signatures() -> None:
    signature = Signature("prompt", (Column("question", "string"),))
    assert parse({"inputs": {"question": "a"}}, signature).rows == ("a",)
    with pytest.raises(InvalidRequest, match=re.escape("['question']")):
        parse({"inputs": {"prompt": "a"}}, signature)
    assert parse({"inputs": {"prompt": "a"}}, Signature("prompt")).rows == ("a",)


def test_a_conversation() -> None:
    invocation = parse({**HELLO, "temperature": 1, "max_tokens": 9, "n": None, "foo": []}, CHAT)
    assert invocation.rows == ((Message("user", "Hello!"),),)
    assert not invocation.is_wrapped
    given = {name: value for name, value in invocation.params.items() if value is not None}
    assert given == {"temperature": 1.0, "max_tokens": 9}


def test_conversations_in_a_table() -> None:
    for body in (
        {"dataframe_records": [HELLO, HELLO]},
        {"dataframe_split": {"columns": ["messages"], "data": [[HELLO["messages"]]] * 2}},
    ):
        assert parse(body, CHAT) == Invocation(((Message("user", "Hello!"),),) * 2, {}, True)


def test_a_completion() -> None:
    body = {"prompt": "a", "max_tokens": 3.0, "stop": "x", "foo": [1, 2], "params": {"n": 3}}
    expected = Invocation(("a",), {"max_tokens": 3, "stop": ["x"]}, False)
    assert parse(body, COMPLETIONS) == expected
    assert parse({"inputs": {"prompt": ["a", "b"]}}, COMPLETIONS).rows == ("a", "b")


@pytest.mark.parametrize("body", [{"prompt": ["a"]}, {"prompt": None}, {"inputs": ["a"]}, HELLO])
def test_what_is_no_completion(body: object) -> None:
    with pytest.raises(InvalidRequest, match=r"expected a string|missing inputs \['prompt'\]"):
        parse(body, COMPLETIONS)


@pytest.mark.parametrize("signature", [CHAT, COMPLETIONS])
def test_options_do_not_fit_into_csv(signature: Signature) -> None:
    with pytest.raises(MalformedBody, match="CSV cannot hold what this model takes"):
        parse(b"prompt\nx\n", signature, "text/csv")


@pytest.mark.parametrize("column", ["prompt", "input", "messages"])
def test_an_unnamed_column_goes_by_any_of_the_unwrapped_names(column: str) -> None:
    assert parse({column: "a"}, UNNAMED) == Invocation(("a",), {}, False)
    assert parse({"x": "y", column: "a"}, UNNAMED).rows == ("a",)
    with pytest.raises(InvalidRequest, match="expected a string"):
        parse({column: ["a", "b"]}, UNNAMED)


@pytest.mark.parametrize("body", [b",text\n0,a\n", b"text,x\na,b\n", b"text\na\n"])
def test_the_first_named_column_of_csv(body: bytes) -> None:
    assert parse(body, UNNAMED, "text/csv").rows == ("a",)


@pytest.mark.parametrize("body", [b"text\n", b",\n0,1\n"])
def test_csv_without_anything_to_take(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(body, UNNAMED, "text/csv")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"prompt": "a"}, "Model is missing inputs ['messages']."),
        ({"messages": []}, "messages is an empty list"),
        ({"messages": "hi"}, "messages is a string"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({**HELLO, "temperature": "hot"}, "temperature is a string, expected a number"),
        ({**HELLO, "stop": ["x", 5]}, "stop is 5, expected a string"),
        ({"dataframe_records": [HELLO, {"messages": 5}]}, "messages of row 1 is 5"),
    ],
)
def test_what_is_no_conversation(body: object, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(body, CHAT)
    assert reason in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["prompt", "messages", "role", "content", "x"]), inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["dataframe_records", "dataframe_split", "inputs", "instances", "prompt", "messages", "params"]
)


def outcome(body: bytes, signature: Signature) -> object:
    try:
        return scoring.parse(body, "application/json", signature)
    except RequestError as error:
        return str(error)


@given(st.dictionaries(NAMES, JSON, max_size=3), st.sampled_from([ECHO, PARAMS, CHAT, UNNAMED]))
def test_any_json_is_read_or_refused(body: dict[str, object], signature: Signature) -> None:
    result = outcome(json.dumps(body).encode(), signature)
    assert isinstance(result, Invocation | str)
    if isinstance(result, Invocation) and signature is not CHAT:
        assert all(isinstance(row, str) for row in result.rows)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert isinstance(outcome(body, ECHO), Invocation | str)
