"""Params are checked and converted as MLflow's params schema does."""

from __future__ import annotations

import pytest

from edge.bundle import Param
from edge.errors import InvalidRequest
from edge.protocol import scoring_params

SCHEMA = (
    Param("max_tokens", "long", 16),
    Param("temperature", "double", 0.0),
    Param("stop", "string", ["<end>"], is_list=True),
)
DEFAULTS = {"max_tokens": 16, "temperature": 0.0, "stop": ["<end>"]}


@pytest.mark.parametrize("params", [None, {}, {"nope": 1}])
def test_defaults(params: object) -> None:
    assert scoring_params.enforce(params, SCHEMA) == DEFAULTS


@pytest.mark.parametrize("params", [None, {"x": 1}, 5, "x", [1]])
def test_without_a_schema_everything_is_ignored(params: object) -> None:
    assert scoring_params.enforce(params, ()) == {}


@pytest.mark.parametrize(
    ("params", "values"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 2**70}, {"max_tokens": 2**70}),
        ({"max_tokens": None}, {"max_tokens": None}),
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 5}, {"temperature": 5.0}),
        ({"temperature": None}, {"temperature": None}),
        ({"stop": []}, {"stop": []}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop": ["a", None]}, {"stop": ["a", None]}),
    ],
)
def test_values(params: dict[str, object], values: dict[str, object]) -> None:
    found = scoring_params.enforce(params, SCHEMA)
    assert found == {**DEFAULTS, **values}
    assert {name: type(value) for name, value in found.items() if value is not None} == {
        name: type(value) for name, value in {**DEFAULTS, **values}.items() if value is not None
    }


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (5, "params is 5, expected an object"),
        (["max_tokens"], "params is a list of 1, expected an object"),
        ("x", "params is a string, expected an object"),
        ({"max_tokens": 5.0}, "max_tokens is 5.0, expected a whole number"),
        ({"max_tokens": "5"}, "max_tokens is a string, expected a whole number"),
        ({"max_tokens": True}, "max_tokens is true, expected a whole number"),
        ({"max_tokens": [5]}, "max_tokens is a list of 1, expected a whole number"),
        ({"temperature": "hot"}, "temperature is a string, expected a number"),
        ({"temperature": False}, "temperature is false, expected a number"),
        ({"temperature": 10**400}, "temperature is a whole number of 1329 bits"),
        ({"stop": "x"}, "stop is a string, expected a list of strings"),
        ({"stop": None}, "stop is null, expected a list of strings"),
        ({"stop": {"a": 1}}, "stop is an object, expected a list of strings"),
        ({"stop": [1]}, "stop is 1, expected a string"),
        ({"stop": [["x"]]}, "stop is a list of 1, expected a string"),
    ],
)
def test_wrong_types(params: object, problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        scoring_params.enforce(params, SCHEMA)
    assert problem in str(caught.value)
    assert caught.value.param in ("params", "max_tokens", "temperature", "stop")


def test_all_problems_come_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        scoring_params.enforce({"max_tokens": "x", "temperature": "y", "stop": "z"}, SCHEMA)
    for name in DEFAULTS:
        assert f"{name} is a string" in str(caught.value)


@pytest.mark.parametrize(
    ("type_name", "good", "bad"),
    [
        ("integer", 3, 3.5),
        ("long", 3, "3"),
        ("float", 3.5, "3"),
        ("double", 3.5, True),
        ("string", "x", 3),
        ("boolean", True, 1),
    ],
)
def test_types(type_name: str, good: object, bad: object) -> None:
    schema = (Param("p", type_name),)
    assert scoring_params.enforce({"p": good}, schema) == {"p": good}
    with pytest.raises(InvalidRequest):
        scoring_params.enforce({"p": bad}, schema)


def test_types_that_mean_nothing_here_are_passed_on() -> None:
    schema = (Param("when", "datetime"),)
    assert scoring_params.enforce({"when": "2026-01-01"}, schema) == {"when": "2026-01-01"}


def test_a_default_list_is_not_shared() -> None:
    first = scoring_params.enforce(None, SCHEMA)
    first["stop"].append("x")
    assert scoring_params.enforce(None, SCHEMA) == DEFAULTS


def test_the_schema_says_what_is_a_param_in_an_unwrapped_body() -> None:
    body = {"prompt": "a", "max_tokens": 5, "foo": 1, "params": {}}
    data, given = scoring_params.split(body, SCHEMA)
    assert data == {"prompt": "a", "foo": 1, "params": {}}
    assert given == {"max_tokens": 5}
    assert scoring_params.split(body, ()) == (body, {})
