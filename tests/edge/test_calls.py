"""Calls out of text: whatever the notation, however the text is cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.calls import CallReader, ObjectEnd, new_id
from edge.engine import tool_format
from edge.engine.tool_format import BRACKETED_LIST, BRACKETED_NAME, TAGGED
from edge.generation import CallDelta, ToolCall
from tests.edge.engine.tool_samples import CALLS, TOOLS

NAMES = [tool.name for tool in TOOLS]
FORMS = [
    tool_format.TAGGED,
    tool_format.ENCLOSED_LIST,
    tool_format.MARKED_LIST,
    tool_format.BRACKETED_LIST,
    tool_format.BRACKETED_NAME,
]
PLACES = st.lists(st.integers(0, 10_000), max_size=30)


def cut(text, places):
    """`text` in pieces, cut at `places`."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def reader(form):
    return CallReader(form, NAMES, itertools.count().__next__)


def read(form, pieces, is_whole=True):
    """The calls and the words that come out of pieces, and the deltas."""
    one = reader(form)
    readings = [one.read(piece) for piece in pieces]
    if is_whole:
        readings.append(one.finish())
    deltas = [delta for reading in readings for delta in reading.calls]
    return calls_of(deltas), "".join(reading.text for reading in readings), deltas


def calls_of(deltas):
    """(name, arguments) of every call, checked to have come in order."""
    calls = []
    for delta in deltas:
        if delta.name:
            assert delta.index == len(calls)
            assert delta.arguments == ""
            calls.append((delta.name, ""))
        else:
            assert delta.index == len(calls) - 1
            assert delta.arguments
            calls[-1] = (calls[-1][0], calls[-1][1] + delta.arguments)
    return calls


def plain(calls):
    return [(call.name, json.loads(call.arguments)) for call in calls]


def loaded(calls):
    return [(name, json.loads(arguments)) for name, arguments in calls]


@settings(max_examples=300)
@given(st.sampled_from(FORMS), st.lists(CALLS, min_size=1, max_size=4), PLACES)
def test_however_the_text_is_cut_the_calls_are_the_same(form, calls, places):
    text = form.text(calls)
    found, words, deltas = read(form, cut(text, places))
    assert loaded(found) == plain(calls)
    assert words == ""
    assert (found, words) == read(form, list(text))[:2] == read(form, [text])[:2]
    assert [delta.id for delta in deltas if delta.name] == list(range(len(calls)))


@settings(max_examples=200)
@given(CALLS, PLACES)
def test_a_bare_call(call, places):
    text = tool_format.BARE.text([call])
    found, words, _ = read(tool_format.BARE, cut(text, places))
    assert (loaded(found), words) == (plain([call]), "")


@settings(max_examples=300)
@given(st.sampled_from(FORMS), st.lists(CALLS, min_size=1, max_size=3), PLACES, st.integers(0, 400))
def test_an_answer_that_breaks_off_has_the_beginning_of_its_calls(form, calls, places, size):
    text = form.text(calls)[:size]
    found, words, _ = read(form, cut(text, places), is_whole=False)
    assert words == ""
    for (name, arguments), call in zip(found, calls, strict=False):
        assert name == call.name
        whole = json.dumps(json.loads(call.arguments), ensure_ascii=False)
        assert whole.startswith(arguments)
    assert all(arguments.endswith("}") for _, arguments in found[:-1])


@settings(max_examples=200)
@given(CALLS, PLACES)
def test_arguments_come_out_as_they_come_in(call, places):
    """No piece of arguments waits for a later one."""
    one, text = reader(TAGGED), TAGGED.text([call])
    start = len(TAGGED.begin + TAGGED.opening + TAGGED.before_name + call.name)
    start += len(TAGGED.before_arguments)
    arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False)
    one.read(text[:start])
    sent = ""
    for piece in cut(arguments, places):
        sent += piece
        got = one.read(piece).calls
        assert "".join(delta.arguments for delta in got) == piece
    assert sent == arguments


def test_what_a_stream_looks_like():
    one = CallReader(TAGGED, NAMES, lambda: "call_1")
    text = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    said = [one.read(piece).calls for piece in (text[:24], text[24:41], text[41:43], text[43:])]
    assert said == [
        (),
        (CallDelta(0, "call_1", "now"),),
        (CallDelta(0, arguments="{}"),),
        (),
    ]
    assert (one.count, one.raw) == (1, text)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call>\n",
        "<tool_call> is the marker of calls",
        '<tool_call>\n{"name": "other", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"nam": "now"',
        '<tool_call>{"name": "now", "arguments": {}}</tool_call>',
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_only_looks_like_a_call_is_text(text, size):
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    found, words, _ = read(TAGGED, pieces)
    assert (found, words) == ([], text)


def test_of_a_broken_off_head_nothing_is_told():
    found, words, _ = read(TAGGED, ['<tool_call>\n{"name": "no'], is_whole=False)
    assert (found, words) == ([], "")


def test_what_follows_a_call_is_no_text():
    found, words, _ = read(TAGGED, [TAGGED.text([ToolCall("", "now", "{}")]) + " and so on"])
    assert (found, words) == ([("now", "{}")], "")


@pytest.mark.parametrize("form", [BRACKETED_LIST, BRACKETED_NAME])
def test_a_space_behind_the_marker(form):
    text = form.text([ToolCall("", "now", "{}")]).replace("[TOOL_CALLS]", "[TOOL_CALLS] ", 1)
    for pieces in ([text], list(text)):
        assert read(form, pieces)[0] == [("now", "{}")]


@settings(max_examples=300)
@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.text(max_size=8), st.lists), max_size=4),
    st.text(max_size=5),
    PLACES,
)
def test_where_an_object_ends(value, rest, places):
    text = json.dumps(value)
    end, seen = ObjectEnd(), 0
    for piece in cut(text + rest, places):
        size = end.find(piece)
        if size is not None:
            assert text == (text + rest)[: seen + size]
            return
        seen += len(piece)
    pytest.fail("no end was found")


def test_ids_are_those_of_a_call_and_differ():
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 29 and one.startswith("call_") for one in ids)
