"""A column without a name is the first of whatever table comes."""

from __future__ import annotations

import json
import re

import pytest

from edge.bundle import Column, Signature
from edge.errors import InvalidRequest, MalformedBody, RequestError
from edge.protocol import scoring

SIGNATURE = Signature("prompt", (Column("", "string"),), reply="full")


def rows(body: object) -> tuple[object, ...]:
    return scoring.parse(json.dumps(body).encode(), "application/json", SIGNATURE).rows


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["a", "b"]},
        {"inputs": [["a"], ["b"]]},
        {"inputs": [["a", "x"], ["b", "y"]]},
        {"inputs": [{"q": "a"}, {"q": "b"}]},
        {"instances": ["a", "b"]},
        {"instances": [{"q": "a", "x": "c"}, {"q": "b", "x": "d"}]},
        {"dataframe_records": [{"q": "a", "x": 1}, {"x": 2, "q": "b"}]},
        {"dataframe_records": ["a", "b"]},
        {"dataframe_records": [["a", "x"], ["b", "y"]]},
        {"dataframe_split": {"columns": ["q", "x"], "data": [["a", 1], ["b", 2]]}},
        {"dataframe_split": {"columns": [0], "data": [["a"], ["b"]]}},
        {"dataframe_split": {"data": [["a", "x"], ["b", "y"]]}},
        {"dataframe_split": {"data": ["a", "b"]}},
        {"dataframe_split": {"data": {"q": ["a", "b"], "x": [1, 2]}}},
        {"dataframe_split": {"data": [{"q": "a"}, {"q": "b"}]}},
    ],
)
def test_the_first_column(body: object) -> None:
    assert rows(body) == ("a", "b")


@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_one_string_is_one_row(name: str) -> None:
    assert rows({name: "a"}) == ("a",)


def test_an_index_repeats_a_row() -> None:
    split = {"columns": ["q"], "index": [0, 1], "data": [["a"]]}
    assert rows({"dataframe_split": split}) == ("a", "a")


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        ({"inputs": []}, InvalidRequest, "the table has no rows"),
        ({"dataframe_split": {"data": []}}, InvalidRequest, "the table has no rows"),
        ({"dataframe_split": {"columns": ["q"], "data": []}}, InvalidRequest, "has no rows"),
        ({"dataframe_records": []}, InvalidRequest, "missing inputs"),
        ({"dataframe_records": [{}]}, InvalidRequest, "missing inputs"),
        ({"dataframe_records": "a"}, MalformedBody, "dataframe_records is a string"),
        ({"dataframe_records": [{"q": "a"}, "b"]}, MalformedBody, "dataframe_records[1]"),
        ({"inputs": {"q": ["a"]}}, MalformedBody, "the column of this model has no name"),
        ({"inputs": None}, MalformedBody, "inputs is null"),
        ({"instances": {"q": "a"}}, MalformedBody, "instances is an object"),
        ({"inputs": [5]}, InvalidRequest, "prompt of row 0 is 5, expected a string"),
        ({"inputs": ["a", None]}, InvalidRequest, "prompt of row 1 is null"),
        ({"inputs": [[["a"]]]}, InvalidRequest, "prompt of row 0 is a list of 1"),
        ({"dataframe_records": [{"q": "a"}, {"x": "b"}]}, InvalidRequest, "row 1 is null"),
        ({"dataframe_split": 5}, MalformedBody, "dataframe_split is 5"),
        ({"dataframe_split": {"data": 5}}, MalformedBody, "dataframe_split.data is 5"),
    ],
)
def test_tables_without_a_first_column_of_strings(
    body: object, error: type[RequestError], reason: str
) -> None:
    with pytest.raises(error, match=re.escape(reason)):
        rows(body)
