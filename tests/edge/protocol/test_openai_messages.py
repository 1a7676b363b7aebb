"""The messages of a chat request."""

from __future__ import annotations

import pytest

from edge.errors import InvalidRequest
from edge.generation import Message
from edge.protocol import openai_messages


def user(content, **more):
    return {"role": "user", "content": content, **more}


def refusal(value) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        openai_messages.read(value)
    return caught.value


def test_roles_and_order_are_kept():
    read = openai_messages.read(
        [
            {"role": "system", "content": "Be brief."},
            user("Hello"),
            {"role": "assistant", "content": "Hi"},
            user("Bye"),
        ]
    )
    assert read == (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "Hi"),
        Message("user", "Bye"),
    )


def test_developer_is_system():
    assert openai_messages.read([{"role": "developer", "content": "x"}]) == (
        Message("system", "x"),
    )


def test_text_parts_are_joined_by_newlines():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert openai_messages.read([user(parts)]) == (Message("user", "one\ntwo"),)


def test_an_empty_string_is_content():
    assert openai_messages.read([user("")]) == (Message("user", ""),)


def test_a_name_is_accepted():
    assert openai_messages.read([user("x", name="Ann")]) == (Message("user", "x"),)


def test_an_answer_can_be_sent_back_as_clients_keep_it():
    kept = {
        "role": "assistant",
        "content": "Madrid",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
    }
    assert openai_messages.read([kept]) == (Message("assistant", "Madrid"),)


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("hello", "messages"),
        ({"role": "user"}, "messages"),
        ([], "messages"),
        ([3], "messages[0]"),
        ([["user", "x"]], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": None, "content": "x"}], "messages[0].role"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "function", "content": "x", "name": "f"}], "messages[0].role"),
        ([user("x"), {"role": "user"}], "messages[1].content"),
        ([user(None)], "messages[0].content"),
        ([user(3)], "messages[0].content"),
        ([user({"type": "text"})], "messages[0].content"),
        ([user([])], "messages[0].content"),
        ([user("\udead")], "messages[0].content"),
        ([user(["x"])], "messages[0].content[0]"),
        ([user([{"text": "x"}])], "messages[0].content[0].type"),
        ([user([{"type": "text"}])], "messages[0].content[0].text"),
        ([user([{"type": "text", "text": 3}])], "messages[0].content[0].text"),
        ([user([{"type": "text", "text": "x", "cache": 1}])], "messages[0].content[0].cache"),
        ([user([{"type": "text", "text": "\ud83d"}])], "messages[0].content[0].text"),
        ([user("x", name=3)], "messages[0].name"),
        ([user("x", id="1")], "messages[0].id"),
        ([{"role": "assistant", "content": "x", "refusal": "no"}], "messages[0].refusal"),
        ([{"role": "assistant", "content": "x", "audio": {"id": "a"}}], "messages[0].audio"),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            "messages[0].tool_calls[0].type",
        ),
        (
            [{"role": "assistant", "content": None, "function_call": {"name": "f"}}],
            "messages[0].function_call",
        ),
    ],
)
def test_the_field_at_fault_is_named(value, param):
    assert refusal(value).param == param


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "refusal", "refusal": "no"},
    ],
)
def test_parts_that_are_no_text_are_refused_by_type(part):
    error = refusal([user([{"type": "text", "text": "what is this?"}, part])])
    assert error.param == "messages[0].content[1].type"
    assert part["type"] in str(error)


def test_a_message_of_a_function_says_what_took_its_place():
    assert "the role tool" in str(refusal([{"role": "function", "content": "x", "name": "f"}]))


def test_errors_hold_no_prompt_text():
    for value in ("secret", [user("secret", id=1)], [user([{"type": "text", "text": ["secret"]}])]):
        assert "secret" not in str(refusal(value))
