"""`dataframe_split` as pandas reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidRequest, MalformedBody
from edge.protocol.scoring_split import from_split


@pytest.mark.parametrize(
    ("table", "cells"),
    [
        ({"columns": ["prompt"], "data": [["a"], ["b"]]}, ["a", "b"]),
        ({"columns": ["x", "prompt"], "data": [[1, "a"]]}, ["a"]),
        ({"columns": ["prompt"], "data": []}, []),
        ({"columns": ["prompt"], "data": None}, []),
        ({"columns": ["prompt"], "data": ["a", "b"]}, ["a", "b"]),
        ({"columns": ["prompt", "x"], "data": [["a"], ["b", 2]]}, ["a", "b"]),
        ({"columns": ["x", "prompt"], "data": [[1], [2, "b"]]}, [None, "b"]),
        ({"columns": ["prompt"], "data": [["a"], "b"]}, ["a", "b"]),
        ({"columns": ["prompt", "x"], "data": [["a", "b"], "cd"]}, ["a", "c"]),
        ({"columns": {"prompt": 0}, "data": [["a"]]}, ["a"]),
        ({"columns": ["prompt"], "data": [{"prompt": "a", "x": 1}, {}]}, ["a", None]),
        ({"data": [{"prompt": "a"}]}, ["a"]),
        ({"data": {"prompt": ["a", "b"]}}, ["a", "b"]),
        ({"data": {"prompt": {"0": "a", "1": "b"}}}, ["a", "b"]),
        ({"columns": ["prompt"], "data": {"x": [1]}}, []),
        ({"index": [0, 1], "columns": ["prompt"], "data": {"x": [1]}}, [None, None]),
        ({"index": [0, 1], "data": {"prompt": "a"}}, ["a", "a"]),
        ({"index": [0, 1], "columns": ["prompt"], "data": "a"}, ["a", "a"]),
    ],
)
def test_tables(table: object, cells: list[object]) -> None:
    assert from_split(table, "prompt") == cells


@pytest.mark.parametrize(
    ("index", "cells"),
    [
        (None, ["a"]),
        ([7], ["a"]),
        (["x", "y"], ["a", "a"]),
        ([], []),
        ([[0, 1], ["x", "y"]], ["a", "a"]),
        ({"x": 1}, ["a"]),
    ],
)
def test_a_single_row_is_repeated_for_every_label(index: object, cells: list[object]) -> None:
    table = {"columns": ["prompt"], "index": index, "data": [["a"]]}
    assert from_split(table, "prompt") == cells


def test_an_index_without_data_makes_empty_rows() -> None:
    assert from_split({"columns": ["prompt"], "index": [1, 2], "data": []}, "prompt") == [None] * 2


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (None, "dataframe_split is null, expected an object"),
        ([{"prompt": "a"}], "dataframe_split is a list of 1, expected an object"),
        ({"columns": ["prompt"]}, "must have `data`"),
        ({"data": [], "schema": {}}, "must have `data`"),
        ({"columns": "prompt", "data": [["a"]]}, "columns is a string, expected a list"),
        ({"columns": ["prompt"], "index": 5, "data": [["a"]]}, "index is 5, expected a list"),
        ({"columns": ["prompt"], "data": "a"}, "data is a string, expected a list of rows"),
        ({"columns": ["prompt"], "data": [["a", "b"]]}, "1 columns passed, passed data had 2"),
        ({"columns": ["prompt", "x"], "data": [["a"]]}, "2 columns passed, passed data had 1"),
        ({"columns": ["prompt"], "data": [[]]}, "1 columns passed, passed data had 0"),
        ({"columns": ["prompt"], "data": [["a"], None]}, "data[1] is null, expected a list"),
        ({"columns": ["prompt"], "data": [{"prompt": "a"}, 5]}, "data[1] is 5, expected an object"),
        ({"columns": ["prompt"] * 2, "data": [["a", "b"]]}, "names prompt twice"),
        ({"columns": ["prompt"], "index": [1], "data": [["a"], ["b"]]}, "1 labels and data 2 rows"),
        ({"columns": ["prompt"], "index": [1, 2], "data": ["a"]}, "2 labels and data 1 rows"),
        ({"index": [1, 2], "data": [[1], [2], [3]]}, "2 labels and data 3 rows"),
        ({"data": {"prompt": "a"}}, "data.prompt is a single value, expected a list"),
        ({"index": [1, 2], "data": {"prompt": []}}, "2 labels and data 0 rows"),
    ],
)
def test_what_is_no_table(table: object, reason: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        from_split(table, "prompt")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        {"data": [["a"]]},
        {"columns": None, "data": [["a"]]},
        {"columns": ["x"], "data": [["a"]]},
        {"columns": [["prompt"]], "data": [["a"]]},
        {"columns": [{}, "x"], "data": [["a", "b"]]},
        {"columns": [], "data": []},
        {"columns": ["x"], "data": [{"prompt": "a"}]},
        {"data": [{"x": "a"}]},
        {"data": {"x": ["a"]}},
        {"columns": ["x"], "index": [1], "data": "a"},
    ],
)
def test_tables_without_the_column(table: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_split(table, "prompt")
    assert str(caught.value) == "Model is missing inputs ['prompt']."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def outcome(table: object) -> object:
    try:
        return from_split(table, "prompt")
    except (MalformedBody, InvalidRequest) as error:
        return str(error)


@given(JSON, JSON, JSON)
def test_any_json_is_read_or_refused(columns: object, index: object, data: object) -> None:
    table = {"columns": columns, "index": index, "data": data}
    assert isinstance(outcome(table), list | str)
