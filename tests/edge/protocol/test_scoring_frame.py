"""The model's column out of records, columns, lists of cells and unwrapped bodies."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import InvalidRequest, MalformedBody, RequestError
from edge.protocol import scoring_frame
from edge.protocol.scoring_frame import (
    from_body,
    from_columns,
    from_inputs,
    from_instances,
    from_records,
)

MISSING = "Model is missing inputs ['prompt']."


def refused(error: type[RequestError], read: Any, value: object) -> str:
    with pytest.raises(error) as caught:
        read(value, "prompt")
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "cells"),
    [
        ([{"prompt": "a"}, {"prompt": "b", "x": 1}], ["a", "b"]),
        ([{"prompt": "a"}, {"x": "b"}], ["a", None]),
        ([{}, {"prompt": "a"}], [None, "a"]),
    ],
)
def test_records(rows: object, cells: list[object]) -> None:
    assert from_records(rows, "prompt") == cells


@pytest.mark.parametrize("rows", [[], [{}], [{"Prompt": "a"}], ["a"], [None, {"prompt": "a"}], [5]])
def test_records_without_the_column(rows: object) -> None:
    assert refused(InvalidRequest, from_records, rows) == MISSING


@pytest.mark.parametrize("rows", [None, "x", 5, {}, {"prompt": ["a"]}])
def test_records_that_are_no_list(rows: object) -> None:
    assert "dataframe_records is" in refused(MalformedBody, from_records, rows)


@pytest.mark.parametrize("other", [None, "b", 5, ["b"]])
def test_records_that_are_not_all_objects(other: object) -> None:
    message = refused(MalformedBody, from_records, [{"prompt": "a"}, other])
    assert message.startswith("dataframe_records[1] is")


@pytest.mark.parametrize("read", [from_inputs, from_instances])
@pytest.mark.parametrize(
    ("value", "cells"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        ([1, None], [1, None]),
        ([["a"], ["b"]], [["a"], ["b"]]),
        ([{"prompt": "a"}, {"prompt": "b"}], ["a", "b"]),
        ({"prompt": ["a", "b"]}, ["a", "b"]),
        ({"prompt": "a"}, ["a"]),
        ({"prompt": ["a", "b"], "x": [1, 2]}, ["a", "b"]),
        ({"prompt": ["a", "b"], "x": 1}, ["a", "b"]),
        ({"prompt": "a", "x": [1, 2]}, ["a", "a"]),
    ],
)
def test_inputs_and_instances(read: Any, value: object, cells: list[object]) -> None:
    assert read(value, "prompt") == cells


@pytest.mark.parametrize("read", [from_inputs, from_instances])
@pytest.mark.parametrize(
    "value", [None, "hello", 5, True, {}, {"x": ["a"]}, [{}], [{"x": "a"}], ["a", {"prompt": "b"}]]
)
def test_inputs_and_instances_that_do_not_fit(read: Any, value: object) -> None:
    assert refused(InvalidRequest, read, value)


@pytest.mark.parametrize("read", [from_inputs, from_instances])
@pytest.mark.parametrize("value", [["a", ["b"]], [["a"], ["b", "c"]], {"prompt": ["a", ["b"]]}])
def test_irregular_lists_are_no_table(read: Any, value: object) -> None:
    assert "irregular nested list" in refused(MalformedBody, read, value)


def test_lists_can_be_nested_no_deeper_than_arrays() -> None:
    deep: object = "a"
    for _ in range(900):
        deep = [deep]
    assert "irregular nested list" in refused(MalformedBody, from_inputs, deep)


def test_instances_are_read_column_by_column_and_inputs_row_by_row() -> None:
    rows = [{"prompt": "a"}, {"x": "b"}]
    assert from_instances(rows, "prompt") == ["a"]
    assert from_inputs(rows, "prompt") == ["a", None]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": ["a", "b"], "x": [1]}, "1 and 2 rows"),
        ({"prompt": "a", "x": 1}, "every column is a single value"),
        ({"prompt": ["a"], "x": {}}, "a column is an empty object"),
    ],
)
def test_columns_that_do_not_fit_each_other(columns: object, reason: str) -> None:
    assert reason in refused(InvalidRequest, from_columns, columns)


@pytest.mark.parametrize(
    ("others", "rows"),
    [
        ({}, 1),
        ({"x": 1, "y": None, "z": "s"}, 1),
        ({"x": ["a", "b"]}, 1),
        ({"x": [1]}, 1),
        ({"x": ["a", 1]}, 2),
        ({"x": {"a": 1, "b": 2}}, 2),
        ({"x": {"a": 1}, "y": {"b": 2}}, 2),
        ({"x": {}}, 0),
        ({"messages": [{"role": "user", "content": "hi"}]}, 1),
    ],
)
def test_neighbours_of_an_unwrapped_prompt(others: dict[str, object], rows: int) -> None:
    assert from_body({"prompt": "a", **others}, "prompt") == ["a"] * rows


@pytest.mark.parametrize("others", [{"x": [1], "y": [1, 2]}, {"x": [1], "y": {"a": 1}}])
def test_neighbours_that_do_not_fit_each_other(others: dict[str, object]) -> None:
    assert refused(InvalidRequest, from_body, {"prompt": "a", **others})


def test_an_unwrapped_body_without_the_column() -> None:
    assert refused(InvalidRequest, from_body, {"input": "a"}) == MISSING


def test_texts_are_texts() -> None:
    assert scoring_frame.texts(["a", "", "é\0🦊"], "prompt") == ("a", "", "é\0🦊")


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (None, "null"),
        (5, "5"),
        (True, "true"),
        (float("nan"), "not a finite number"),
        (["the secret"], "a list of 1"),
        ({"a": 1}, "an object"),
    ],
)
def test_other_cells_are_refused_by_row(cell: object, found: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        scoring_frame.texts(["a", cell], "prompt")
    assert str(caught.value) == f"prompt of row 1 is {found}, expected a string"
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="row 0 holds a lone surrogate"):
        scoring_frame.texts([text], "prompt")
