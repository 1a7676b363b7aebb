"""`dataframe_split`: `{"columns": [...], "index": [...], "data": [...]}` as pandas reads it.

Follows `pandas.DataFrame(data, index, columns)` for the one column that is wanted. See
`scoring_frame` for the meaning of the errors.
"""

from __future__ import annotations

from typing import Any

from edge.errors import MalformedBody
from edge.protocol.fields import kind
from edge.protocol.scoring_frame import Cells, missing

_KEYS = {"columns", "data", "index"}
_PATH = "dataframe_split"


def from_split(table: object, column: str) -> Cells:
    """The cells of `column`; a missing cell is None."""
    if not isinstance(table, dict):
        raise MalformedBody(f"{_PATH} is {kind(table)}, expected an object", param=_PATH)
    if "data" not in table or not set(table) <= _KEYS:
        raise MalformedBody(f"{_PATH} must have `data` and may have `columns` and `index`")
    columns = _labels(table.get("columns"), "columns")
    height = _length(_labels(table.get("index"), "index"))
    data = [] if table["data"] is None else table["data"]
    if isinstance(data, list):
        return _fit(_from_list(data, columns, height, column), height)
    if isinstance(data, dict):
        return _from_object(data, columns, height, column)
    if columns is None or height is None:
        raise MalformedBody(f"{_PATH}.data is {kind(data)}, expected a list of rows")
    _place(columns, column)
    return [data] * height


def labels(table: object) -> list[Any]:
    """The names of the columns in their order, as far as the table says them."""
    if not isinstance(table, dict):
        return []
    if table.get("columns") is not None:
        return _labels(table["columns"], "columns") or []
    data = table.get("data")
    rows = data if isinstance(data, list) else [data]
    return list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))


def _labels(value: object, name: str) -> list[Any] | None:
    if isinstance(value, dict):
        return list(value)
    if value is not None and not isinstance(value, list):
        raise MalformedBody(f"{_PATH}.{name} is {kind(value)}, expected a list")
    return value


def _length(index: list[Any] | None) -> int | None:
    """Number of labels; the levels of a multi-index lie one list each."""
    if index and isinstance(index[0], list):
        return len(index[0])
    return None if index is None else len(index)


def _from_list(
    data: list[Any], columns: list[Any] | None, height: int | None, column: str
) -> Cells:
    if data:
        _check_height(len(data), height, is_repeatable=isinstance(data[0], dict | list))
    if data and isinstance(data[0], dict):
        return _from_objects(data, columns, column)
    rows = [_row(item, index, data[0]) for index, item in enumerate(data)]
    width = max((len(row) for row in rows), default=None)
    if columns is not None and width not in (None, len(columns)):
        raise MalformedBody(f"{len(columns)} columns passed, passed data had {width} columns")
    place = _place(columns, column)
    return [row[place] if place < len(row) else None for row in rows]


def _from_objects(data: list[Any], columns: list[Any] | None, column: str) -> Cells:
    for index, row in enumerate(data):
        if not isinstance(row, dict):
            raise MalformedBody(f"{_PATH}.data[{index}] is {kind(row)}, expected an object")
    if columns is None and not any(column in row for row in data):
        raise missing(column)
    if columns is not None:
        _place(columns, column)
    return [row.get(column) for row in data]


def _from_object(
    data: dict[str, Any], columns: list[Any] | None, height: int | None, column: str
) -> Cells:
    _place(list(data) if columns is None else columns, column)
    if column not in data:
        return [None] * (height or 0)
    cells = data[column]
    if isinstance(cells, dict):
        return list(cells.values())
    if isinstance(cells, list):
        _check_height(len(cells), height, is_repeatable=True)
        return _fit(cells, height)
    if height is None:
        raise MalformedBody(f"{_PATH}.data.{column} is a single value, expected a list")
    return [cells] * height


def _row(item: object, index: int, first: object) -> list[Any]:
    """A row of a list of rows; where the first item is no list, every item is a row's only cell."""
    if not isinstance(first, list):
        return [item]
    if isinstance(item, list | str):
        return list(item)
    raise MalformedBody(f"{_PATH}.data[{index}] is {kind(item)}, expected a list")


def _place(columns: list[Any] | None, column: str) -> int:
    if columns is None or column not in columns:
        raise missing(column)
    if columns.count(column) > 1:
        raise MalformedBody(f"{_PATH}.columns names {column} twice")
    return columns.index(column)


def _check_height(rows: int, height: int | None, *, is_repeatable: bool) -> None:
    if height is not None and rows != height and not (rows == 1 and is_repeatable):
        raise MalformedBody(f"{_PATH}.index has {height} labels and data {rows} rows")


def _fit(cells: Cells, height: int | None) -> Cells:
    """pandas repeats a single row for every label of the index, and fills up an empty table."""
    if height is None or len(cells) > 1:
        return cells
    return cells * height if cells else [None] * height
