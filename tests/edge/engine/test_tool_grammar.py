"""What answers with tools may be: every notation, followed by real tokenizers and read back."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edge.calls import CallReader
from edge.engine import tool_grammar
from edge.engine.tool_format import BRACKETED_NAME, TAGGED
from edge.engine.tool_grammar import MOST_CALLS, Vocabulary
from edge.errors import InvalidRequest
from edge.generation import Guidance, Tool, ToolCall, ToolUse
from edge.text import Assembler, Marker
from tests.edge.engine import marked, templates
from tests.edge.engine.tool_samples import (
    ANY,
    CALLS,
    NOTATIONS,
    ORDER,
    REQUIRED,
    TOOLS,
    WEATHER,
    is_valid,
)

MARKED = [name for name in NOTATIONS if name != "bare"]
NOW = ToolCall("", "now", "{}")


@pytest.fixture(scope="module")
def speakers(demo_model, tmp_path_factory):
    """A tokenizer for every notation."""
    folder = tmp_path_factory.mktemp("notations")
    return {
        name: marked.load(folder / name, demo_model, markers, template)
        for name, (markers, template, _) in NOTATIONS.items()
    }


def follow(tokenizer, constraint, ids, limits):
    """How many of `ids` the constraint takes, and whether the answer may end then."""
    for place, token in enumerate(ids):
        if not constraint.allowed(limits.vocab_size)[token]:
            return place, False
        constraint.accept(token)
    return len(ids), bool(constraint.allowed(limits.vocab_size)[sorted(limits.eos_ids)].any())


def accepts(tokenizer, limits, use, text, guidance=None):
    ids = tokenizer.encode(text).tolist()
    constraint = tokenizer.constrain_calls(use, guidance)
    return follow(tokenizer, constraint, ids, limits) == (len(ids), True)


def read_back(tokenizer, ids, is_leading=False):
    """(words, calls) of an answer, as the appliance reads it."""
    form = tokenizer.tool_format
    marker = Marker(form.marker, is_leading or form.is_leading)
    assembler = Assembler(tokenizer.stream(shows_markers=True), tokenizer.decode, [], marker)
    reader = CallReader(form, [tool.name for tool in TOOLS])
    words, deltas = "", []
    for token in ids:
        piece = assembler.push(token)
        reading = reader.read(piece.beyond)
        words, deltas = words + piece.text + reading.text, [*deltas, *reading.calls]
    words += assembler.finish().text + reader.finish().text
    calls = [ToolCall("", delta.name, "") for delta in deltas if delta.name]
    for delta in deltas:
        call = calls[delta.index]
        calls[delta.index] = ToolCall("", call.name, call.arguments + delta.arguments)
    return words, calls


def plain(calls):
    return [(call.name, json.loads(call.arguments)) for call in calls]


def test_every_notation_is_told_from_its_model(speakers):
    for name, (_, _, form) in NOTATIONS.items():
        assert speakers[name].tool_format == form


@settings(max_examples=250)
@given(st.sampled_from(MARKED), st.lists(CALLS, min_size=1, max_size=3), st.booleans())
def test_valid_calls_are_taken_and_come_back(speakers, limits, name, calls, is_required):
    tokenizer = speakers[name]
    text = tokenizer.tool_format.text(calls)
    assert accepts(tokenizer, limits, REQUIRED if is_required else ANY, text)
    words, found = read_back(tokenizer, tokenizer.encode(text).tolist())
    assert (words, plain(found)) == ("", plain(calls))


@settings(max_examples=60)
@given(CALLS, st.booleans())
def test_a_bare_call(speakers, limits, call, is_required):
    tokenizer = speakers["bare"]
    text = tokenizer.tool_format.text([call])
    assert accepts(tokenizer, limits, REQUIRED if is_required else ANY, text)
    assert not accepts(tokenizer, limits, ANY, f"{text}\n{text}")
    words, found = read_back(tokenizer, tokenizer.encode(text).tolist())
    assert (words, plain(found)) == ("", plain([call]))


@settings(max_examples=150)
@given(
    st.sampled_from(MARKED),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.lists(CALLS, max_size=2),
)
@example("spelt", "a <tool_cal", [NOW])
@example("tagged", "<", [NOW])
def test_words_before_calls_and_words_alone(speakers, limits, name, words, calls):
    tokenizer = speakers[name]
    form = tokenizer.tool_format
    assume(form.begin not in words and "<|" not in words)
    text = words + (form.text(calls) if calls else "")
    assert accepts(tokenizer, limits, ANY, text)
    assert not accepts(tokenizer, limits, REQUIRED, text) or (calls and not words)
    said, found = read_back(tokenizer, tokenizer.encode(text).tolist())
    if "\ufffd" not in said:
        assert said == (words.rstrip() if calls else words)
    assert plain(found) == plain(calls)


@pytest.mark.parametrize("name", MARKED)
def test_behind_its_marker_an_answer_is_bound(speakers, limits, name):
    tokenizer, form = speakers[name], speakers[name].tool_format
    whole = form.text([ToolCall("", "get_weather", '{"city": "Rome", "days": 2}')])
    assert accepts(tokenizer, limits, ANY, whole)
    for wrong in (
        whole.replace("get_weather", "get_wether"),
        whole.replace("city", "town"),
        whole.replace('"Rome"', "3"),
        whole.replace("2", "10"),
        whole.replace('"city": "Rome", ', ""),
        whole.replace('"days": 2', '"days": 2, "more": 1'),
        whole.replace("Rome", "Llanfairpwllgwyngyll"),
        whole[:-8],
        whole + " and more",
    ):
        for use in (ANY, REQUIRED):
            assert not accepts(tokenizer, limits, use, wrong)


@pytest.mark.parametrize("name", MARKED)
def test_one_call_at_most(speakers, limits, name):
    form = speakers[name].tool_format
    for is_required in (False, True):
        use = ToolUse(TOOLS, is_required, is_parallel=False)
        assert accepts(speakers[name], limits, use, form.text([NOW]))
        assert not accepts(speakers[name], limits, use, form.text([NOW, NOW]))


def test_calls_have_an_end(speakers, limits):
    form = speakers["spelt"].tool_format
    assert accepts(speakers["spelt"], limits, ANY, form.text([NOW] * MOST_CALLS))
    assert not accepts(speakers["spelt"], limits, ANY, form.text([NOW] * (MOST_CALLS + 1)))


def test_only_the_tools_that_may_be_called(speakers, limits):
    use = ToolUse((ORDER,), is_required=True)
    for name in MARKED:
        form = speakers[name].tool_format
        order = ToolCall("", ORDER.name, '{"items": ["tea"], "paid": true}')
        assert accepts(speakers[name], limits, use, form.text([order]))
        assert not accepts(speakers[name], limits, use, form.text([NOW]))


def test_a_marker_spelt_out_binds_like_its_token(speakers, limits):
    """A model may write its marker letter by letter; what follows is a call all the same."""
    tokenizer = speakers["bracketed"]
    rest = tokenizer.tool_format.text([NOW]).removeprefix("[TOOL_CALLS]")
    ids = [
        token
        for text in ("so [", "TOOL", "_CALLS]", rest)
        for token in tokenizer.encode(text).tolist()
    ]
    assert follow(tokenizer, tokenizer.constrain_calls(ANY, None), ids, limits)[1]
    assert plain(read_back(tokenizer, ids)[1]) == [("now", {})]
    wrong = [*ids[:-3], *tokenizer.encode("zzz").tolist()]
    taken, _ = follow(tokenizer, tokenizer.constrain_calls(ANY, None), wrong, limits)
    assert taken < len(wrong)


def test_visible_tokens_may_be_said_and_the_others_not(speakers, limits):
    """A model that thinks aloud does so between tokens of its own; those of chats stay out."""
    tokenizer = speakers["tagged"]
    call = tokenizer.tool_format.text([NOW])
    assert accepts(tokenizer, limits, ANY, f"<think>why<think>{call}")
    assert accepts(tokenizer, limits, ANY, "<think>because")
    assert not accepts(tokenizer, limits, ANY, "a<|im_start|>b")
    assert not accepts(tokenizer, limits, ANY, "a<|user|>b")
    assert not accepts(tokenizer, limits, REQUIRED, f"<think>{call}")


@pytest.mark.parametrize("name", list(NOTATIONS))
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_drawn_is_a_valid_call(speakers, limits, name, seed):
    """Random tokens out of those allowed, as the worst of models would say them."""
    tokenizer, draw = speakers[name], random.Random(seed)
    constraint = tokenizer.constrain_calls(REQUIRED, None)
    ids = []
    for _ in range(600):
        allowed = np.flatnonzero(constraint.allowed(limits.vocab_size)).tolist()
        ends = limits.eos_ids & set(allowed)
        if ends:
            words, calls = read_back(tokenizer, ids)
            assert words == ""
            assert 1 <= len(calls) <= MOST_CALLS
            assert all(is_valid(call) for call in calls)
            if draw.random() < 0.5 or len(allowed) == len(ends):
                return
        ids.append(draw.choice([token for token in allowed if token not in ends]))
        constraint.accept(ids[-1])
    pytest.fail("the calls did not end")


SHAPE = Guidance(
    "json_schema",
    json.dumps(
        {
            "type": "object",
            "properties": {"says": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["says"],
            "additionalProperties": False,
        }
    ),
)


@pytest.mark.parametrize("name", MARKED)
def test_beside_a_schema_the_answer_is_either(speakers, limits, name):
    tokenizer, form = speakers[name], speakers[name].tool_format
    for text in ('{"says": "hi", "n": 3}', '{"says": "<tool_call>\\n"}', form.text([NOW])):
        assert accepts(tokenizer, limits, ANY, text, SHAPE) or text.startswith('{"says": "<')
    for text in ("hi", '{"n": 3}', "", f'{{"says": "x"}}{form.text([NOW])}'):
        assert not accepts(tokenizer, limits, ANY, text, SHAPE)
    assert accepts(tokenizer, limits, ANY, '{"any": [1, {"thing": null}]}', Guidance("json_object"))
    # An answer that has to call says nothing that the schema could bind.
    assert accepts(tokenizer, limits, REQUIRED, form.text([NOW]), SHAPE)
    assert not accepts(tokenizer, limits, REQUIRED, '{"says": "hi"}', SHAPE)


def test_a_marker_within_the_json_of_an_answer_is_no_call(speakers, limits):
    tokenizer = speakers["spelt"]
    text = json.dumps({"says": TAGGED.text([NOW])})
    assert accepts(tokenizer, limits, ANY, text, SHAPE)
    words, calls = read_back(tokenizer, tokenizer.encode(text).tolist(), is_leading=True)
    assert (words, calls) == (text, [])


def test_a_bare_call_cannot_stand_beside_a_schema(speakers, limits):
    with pytest.raises(InvalidRequest) as caught:
        speakers["bare"].constrain_calls(ANY, SHAPE)
    assert caught.value.param == "response_format"
    call = speakers["bare"].tool_format.text([NOW])
    assert accepts(speakers["bare"], limits, REQUIRED, call, SHAPE)


def test_bare_words_do_not_begin_with_a_brace(speakers, limits):
    for text, is_taken in (("hi {there}", True), ("", True), ("{hi}", False), (" {hi}", True)):
        assert accepts(speakers["bare"], limits, ANY, text) == is_taken


@pytest.mark.parametrize(
    ("parameters", "arguments", "is_taken"),
    [
        ({"type": "object", "properties": {}}, {}, True),
        ({"type": "object", "properties": {}}, {"a": 1}, False),
        ({}, {"a": [1]}, True),
        ({"type": "object"}, {"a": 1}, True),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}, True),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1, "b": 2}, False),
        (
            {"properties": {"a": {"type": "integer"}}, "additionalProperties": True},
            {"a": 1, "b": 2},
            True,
        ),
        (
            {
                "$ref": "#/$defs/x",
                "$defs": {"x": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            },
            {"n": 1},
            True,
        ),
        (
            {"anyOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"b": 2},
            True,
        ),
        ({"properties": {"x": {"type": ["string", "null"]}}, "title": "T"}, {"x": None}, True),
        ({"type": "object", "x-guidance": {"item_separator": ";"}}, {"a": 1, "b": 2}, True),
    ],
    ids=str,
)
def test_schemas_as_tools_have_them(speakers, limits, parameters, arguments, is_taken):
    tool = Tool("f", parameters=json.dumps(parameters))
    text = TAGGED.text([ToolCall("", "f", json.dumps(arguments))])
    assert accepts(speakers["spelt"], limits, ToolUse((tool,)), text) == is_taken


def test_two_tools_may_have_different_definitions_of_one_name(speakers, limits):
    def tool(name, kind):
        schema = {"properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": kind}}}
        return Tool(name, parameters=json.dumps({**schema, "required": ["x"]}))

    use = ToolUse((tool("f", "integer"), tool("g", "string")))
    for name, value, is_taken in (("f", 1, True), ("g", "y", True), ("f", "y", False)):
        text = TAGGED.text([ToolCall("", name, json.dumps({"x": value}))])
        assert accepts(speakers["spelt"], limits, use, text) == is_taken


@pytest.mark.parametrize("name", list(NOTATIONS))
def test_what_is_forced_is_allowed(speakers, limits, name):
    """The head of a call leaves no choice, markers included: an engine may draft it."""
    tokenizer, use = speakers[name], ToolUse((WEATHER,), is_required=True, is_parallel=False)
    constraint = tokenizer.constrain_calls(use, None)
    said = []
    while tokenizer.tool_format.before_arguments not in "".join(
        map(tokenizer.stream(shows_markers=True), said)
    ):
        drafted = constraint.forced()
        token = drafted[0] if drafted else None
        allowed = constraint.allowed(limits.vocab_size)
        if token is None:
            (token,) = np.flatnonzero(allowed)[:1].tolist()
        assert allowed[token]
        constraint.accept(token)
        said.append(token)
        assert len(said) < 60
    text = "".join(map(tokenizer.stream(shows_markers=True), said))
    assert WEATHER.name in text


def test_the_grammar_of_a_request_is_made_once(demo_model, tmp_path):
    tokenizer = marked.load(tmp_path / "m", demo_model, {}, templates.PLAIN)
    for _ in range(4):
        tokenizer.constrain_calls(ToolUse((WEATHER, ORDER)), None)
    assert tokenizer._call_grammar.cache_info().misses == 1
    assert tokenizer._grammars._compiled.cache_info().misses == 1


def test_as_many_tools_as_may_be(speakers, limits):
    use = ToolUse(tuple(Tool(f"tool_{n}", parameters=WEATHER.parameters) for n in range(128)))
    text = TAGGED.text([ToolCall("", "tool_127", '{"city": "Rome"}')])
    assert accepts(speakers["spelt"], limits, use, text)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "uniqueItems"),
        ({"properties": {"a": {"type": "florp"}}}, "florp"),
        ({"properties": 3}, "properties"),
        ({"properties": {"a": {"$ref": "https://elsewhere.example/s"}}}, ""),
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_followed_names_its_tool(speakers, schema, reason):
    bad = Tool("bad_one", parameters=json.dumps(schema))
    for name in NOTATIONS:
        with pytest.raises(InvalidRequest) as caught:
            speakers[name].constrain_calls(ToolUse((WEATHER, bad, ORDER)), None)
        assert caught.value.param == "tools"
        assert str(caught.value).startswith("the parameters of the tool bad_one cannot be followed")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


def test_literals_are_tokens_where_there_are_some():
    vocabulary = Vocabulary.of(
        [
            {"id": 7, "content": "[TOOL_CALLS]", "special": True},
            {"id": 9, "content": "[ARGS]"},
            {"id": 11, "content": "[ARGS]]"},
        ]
    )
    assert vocabulary.literal("") == ""
    assert vocabulary.literal('a"\n') == '"a\\"\\n"'
    assert vocabulary.literal("[TOOL_CALLS]f[ARGS]") == '<[7]> "f" <[9]>'
    assert vocabulary.literal("[ARGS]][ARGS]") == "<[11]> <[9]>"
    assert vocabulary.visible == {9, 11}
    assert Vocabulary.of([]).literal("x") == '"x"'
    source = tool_grammar.lark(BRACKETED_NAME, REQUIRED, None, vocabulary)
    assert source.startswith("start: <[7]> calls\n")


def test_a_message_that_names_no_rule_stays_as_it_is():
    assert tool_grammar.named("too large", "start: x", ANY) == "too large"
    assert tool_grammar.named("at 9(1): odd", "start: x", ANY) == "at 9(1): odd"


def test_a_model_whose_template_knows_tools_but_whose_tokenizer_does_not(demo_model, tmp_path):
    """The markers are then spelt out of ordinary tokens."""
    tokenizer = marked.load(tmp_path / "m", demo_model, {}, templates.TAGGED)
    limits_vocab = 3072
    constraint = tokenizer.constrain_calls(REQUIRED, None)
    ids = tokenizer.encode(TAGGED.text([NOW])).tolist()
    for token in ids:
        assert constraint.allowed(limits_vocab)[token]
        constraint.accept(token)
    assert len(ids) > len("<tool_call>") // 3
