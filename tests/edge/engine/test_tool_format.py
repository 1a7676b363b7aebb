"""Which notation a model's markers tell of, and how calls are written in it."""

from __future__ import annotations

import json

import pytest

from edge.engine import tool_format
from edge.engine.tool_format import (
    BARE,
    BRACKETED_LIST,
    BRACKETED_NAME,
    ENCLOSED_LIST,
    MARKED_LIST,
    TAGGED,
)
from edge.generation import ToolCall
from tests.edge.engine import templates

ONE = ToolCall("1", "get_weather", '{"city":"Zürich"}')
TWO = ToolCall("2", "add", '{ "a": 1,\n "b": [2] }')


@pytest.mark.parametrize(
    ("template", "added", "form"),
    [
        (templates.TAGGED, (), TAGGED),
        (templates.PLAIN, ("<tool_call>", "</tool_call>"), TAGGED),
        (templates.IN_MESSAGE, ("<|tool_call|>", "<|/tool_call|>", "<|tool|>"), ENCLOSED_LIST),
        ("{{ '<|tool_call|>' }}", (), MARKED_LIST),
        (templates.BRACKETED, (), BRACKETED_LIST),
        (templates.PLAIN, ("[TOOL_CALLS]", "[INST]"), BRACKETED_LIST),
        (templates.PLAIN, ("[TOOL_CALLS]", "[ARGS]"), BRACKETED_NAME),
        (templates.BARE, (), BARE),
        (templates.PLAIN, (), None),
        ("{{ tool_calls }}", (), None),
        ('{"name": x, "parameters": y}', (), None),
    ],
)
def test_markers_in_the_template_or_among_the_tokens_decide(template, added, form):
    assert tool_format.detect(template, added) == form


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            TAGGED,
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>',
        ),
        (
            ENCLOSED_LIST,
            '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Zürich"}}, '
            '{"name": "add", "arguments": {"a": 1, "b": [2]}}]<|/tool_call|>',
        ),
        (
            BRACKETED_LIST,
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Zürich"}}, '
            '{"name": "add", "arguments": {"a": 1, "b": [2]}}]',
        ),
        (
            BRACKETED_NAME,
            '[TOOL_CALLS]get_weather[ARGS]{"city": "Zürich"}'
            '[TOOL_CALLS]add[ARGS]{"a": 1, "b": [2]}',
        ),
        (
            BARE,
            '{"name": "get_weather", "parameters": {"city": "Zürich"}}\n'
            '{"name": "add", "parameters": {"a": 1, "b": [2]}}',
        ),
    ],
)
def test_calls_as_text(form, text):
    assert form.text([ONE, TWO]) == text
    alone = form.text([ONE])
    assert alone in (text[: len(alone)], text[: len(alone) - 1] + alone[-1:]) or form.closing


def test_one_call_of_a_list_is_a_list():
    written = MARKED_LIST.text([ONE])
    assert json.loads(written.removeprefix("<|tool_call|>")) == [
        {"name": "get_weather", "arguments": {"city": "Zürich"}}
    ]


@pytest.mark.parametrize("form", [TAGGED, ENCLOSED_LIST, MARKED_LIST, BRACKETED_LIST])
def test_a_marker_begins_every_notation_but_the_bare_one(form):
    assert form.text([ONE]).startswith(form.marker)
    assert not form.is_leading
    assert form.begin in form.parts


def test_the_bare_one_is_told_by_its_beginning():
    assert BARE.is_leading
    assert BARE.text([ONE]).startswith(BARE.marker)
    assert BARE.marker == '{"name": "'
