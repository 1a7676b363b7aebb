"""`structured_outputs` beside OpenAI's `response_format`, which test_openai_sampling covers."""

from __future__ import annotations

import json

import pytest

from edge.generation import Guidance
from edge.protocol import openai_guidance

from .openai_bodies import chat, completion, refusal

SCHEMA = {"type": "object", "properties": {"é": {"type": "integer"}}}


def guidance(operation=chat, **outputs):
    return operation(structured_outputs=outputs).request.sampling.guidance


@pytest.mark.parametrize("operation", [chat, completion])
def test_what_an_answer_is_bound_to(operation):
    assert guidance(operation, regex="a+") == Guidance("regex", "a+")
    assert guidance(operation, grammar='start: "a"') == Guidance("lark", 'start: "a"')
    assert guidance(operation, json_object=True) == Guidance("json_object")
    found = guidance(operation, json=SCHEMA)
    assert (found.kind, json.loads(found.source)) == ("json_schema", SCHEMA)
    assert guidance(operation, json=json.dumps(SCHEMA)) == found


def test_a_choice_is_a_grammar_of_its_strings():
    assert guidance(choice=["yes", "no"]) == Guidance("lark", 'start: "yes" | "no"')
    odd = guidance(choice=['a"b', "c\\d", "e\nf", "é"])
    assert odd.source == 'start: "a\\"b" | "c\\\\d" | "e\\nf" | "é"'
    assert guidance(choice=["only"]).source == 'start: "only"'


def test_errors_of_the_grammar_will_name_the_parameter():
    for outputs in ({"regex": "a"}, {"choice": ["a"]}, {"grammar": "x"}, {"json": SCHEMA}):
        assert guidance(**outputs).param == "structured_outputs"
    assert chat(response_format={"type": "json_object"}).request.sampling.guidance.param == (
        "response_format"
    )


def test_where_a_grammar_comes_from_makes_no_other_grammar():
    assert hash(Guidance("regex", "a", "x")) == hash(Guidance("regex", "a", "y"))
    assert Guidance("regex", "a", "x") == Guidance("regex", "a", "y")


def test_null_and_false_are_nothing():
    plain = guidance(regex="a", json=None, choice=None, json_object=False)
    assert plain == Guidance("regex", "a")
    assert chat(structured_outputs=None) == chat()


@pytest.mark.parametrize(
    ("outputs", "param"),
    [
        ("a+", ""),
        ([], ""),
        ({}, ""),
        ({"json_object": False}, ""),
        ({"regex": "a", "choice": ["a"]}, ""),
        ({"json": {}, "json_object": True}, ""),
        ({"regx": "a"}, ".regx"),
        ({"structural_tag": "x"}, ".structural_tag"),
        ({"regex": 3}, ".regex"),
        ({"regex": False}, ".regex"),
        ({"regex": ""}, ".regex"),
        ({"regex": "\ud800"}, ".regex"),
        ({"grammar": ["a"]}, ".grammar"),
        ({"grammar": ""}, ".grammar"),
        ({"choice": "yes"}, ".choice"),
        ({"choice": []}, ".choice"),
        ({"choice": ["yes", 3]}, ".choice[1]"),
        ({"choice": [""]}, ".choice[0]"),
        ({"json": 3}, ".json"),
        ({"json": "not json"}, ".json"),
        ({"json": "[]"}, ".json"),
        ({"json": "NaN"}, ".json"),
        ({"json": {"a": "\udfff"}}, ".json"),
        ({"json_object": "yes"}, ".json_object"),
    ],
)
def test_the_member_at_fault_is_named(outputs, param):
    error = refusal(chat, structured_outputs=outputs)
    assert error.param == f"structured_outputs{param}"


def test_one_at_a_time():
    error = str(refusal(chat, structured_outputs={"regex": "a", "choice": ["a"]}))
    assert "regex and choice" in error
    assert "expected one of json, json_object, regex, choice, grammar" in error


def test_not_beside_a_response_format():
    for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": None}):
        error = refusal(chat, structured_outputs={"regex": "a"}, response_format=form)
        assert error.param in ("structured_outputs", "response_format.json_schema")
    free = chat(structured_outputs={"regex": "a"}, response_format={"type": "text"})
    assert free.request.sampling.guidance == Guidance("regex", "a")


@pytest.mark.parametrize("operation", [chat, completion])
@pytest.mark.parametrize("form", openai_guidance.FORMS)
def test_older_names_point_to_the_new_ones(operation, form):
    error = refusal(operation, **{f"guided_{form}": "x"})
    assert error.param == f"guided_{form}"
    assert f"it is structured_outputs.{form} here" in str(error)
