"""One column out of the table that a JSON scoring request holds.

Follows `mlflow.pyfunc.scoring_server` and `mlflow.utils.proto_json_utils` 3.18, which build a
pandas DataFrame; here only the one column that the model's signature names is taken. A missing
cell is None. `MalformedBody` stands for MLflow's BAD_REQUEST (no table can be built),
`InvalidRequest` for INVALID_PARAMETER_VALUE (the table does not fit the signature).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge.errors import InvalidRequest, MalformedBody
from edge.protocol.fields import kind

Cells = list[Any]
MAX_DIMENSIONS = 64


def from_records(rows: object, column: str) -> Cells:
    """`dataframe_records`: a list of objects, one a row."""
    if not isinstance(rows, list):
        raise _malformed("dataframe_records", rows, "a list of objects")
    if not rows or not isinstance(rows[0], dict):
        raise missing(column)
    return _pick(_objects(rows, "dataframe_records"), column)


def from_inputs(value: object, column: str, name: str = "inputs") -> Cells:
    """`inputs`: the column's cells, a list of rows, or an object of columns."""
    if isinstance(value, dict):
        return from_columns(value, column)
    if not isinstance(value, list):
        raise missing(column)
    _check_regular(value, name)
    if not any(isinstance(item, dict) for item in value):
        return list(value)
    if not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{name} holds objects and other values, expected only objects")
    for row in value:
        _check_columns(row)
    cells = _pick(value, column)
    for cell in cells:
        if isinstance(cell, list):
            raise _malformed(column, cell, "a string")
    return cells


def from_instances(value: object, column: str) -> Cells:
    """`instances`: as `inputs`, but a list that starts with an object is read column by column."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return from_inputs(value, column, "instances")
    columns: dict[str, list[object]] = {}
    for row in _objects(value, "instances"):
        for name, cell in row.items():
            columns.setdefault(name, []).append(cell)
    return from_columns(columns, column)


def from_columns(columns: Mapping[str, object], column: str) -> Cells:
    """An object of columns: lists must be equally long, single values are repeated."""
    _check_columns(columns)
    if column not in columns:
        raise missing(column)
    lists = [cells for cells in columns.values() if isinstance(cells, list)]
    if not lists and len(columns) > 1:
        raise InvalidRequest("every column is a single value, expected at least one list")
    if any(cells == {} for name, cells in columns.items() if name != column):
        raise InvalidRequest("a column is an empty object, expected a value or a list")
    value = columns[column]
    height = _height(lists) if lists else 1
    return list(value) if isinstance(value, list) else [value] * height


def from_body(body: Mapping[str, object], column: str) -> Cells:
    """An unwrapped body `{"prompt": ..., ...}`: one row.

    As in MLflow, a neighbour that is an object, or a list of anything but strings, repeats the
    row once for each of its members.
    """
    if column not in body:
        raise missing(column)
    others = [value for name, value in body.items() if name != column]
    if all(_is_plain(value) for value in others):
        return [body[column]]
    lists = [value for value in others if isinstance(value, list)]
    objects = [value for value in others if isinstance(value, dict)]
    if lists and objects:
        raise InvalidRequest("the body has lists and objects beside the prompt, expected one kind")
    keys = {key for value in objects for key in value}
    return [body[column]] * (_height(lists) if lists else len(keys))


def texts(cells: Iterable[object], column: str) -> tuple[str, ...]:
    """The cells as text; raises `InvalidRequest` for the first that is not a string.

    A lone surrogate, which JSON can spell, is refused too: UTF-8 cannot hold it.
    """
    return tuple(_text(cell, row, column) for row, cell in enumerate(cells))


def missing(column: str) -> InvalidRequest:
    """The error for a table without the model's column."""
    return InvalidRequest(f"Model is missing inputs ['{column}'].", param=column)


def _text(cell: object, row: int, column: str) -> str:
    where = f"{column} of row {row}"
    if not isinstance(cell, str):
        raise InvalidRequest(f"{where} is {kind(cell)}, expected a string", param=column)
    if any("\ud800" <= character <= "\udfff" for character in cell):
        raise InvalidRequest(f"{where} holds a lone surrogate, expected Unicode text", param=column)
    return cell


def _pick(rows: Sequence[Mapping[str, object]], column: str) -> Cells:
    if not any(column in row for row in rows):
        raise missing(column)
    return [row.get(column) for row in rows]


def _objects(rows: list[Any], path: str) -> list[dict[str, Any]]:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _malformed(f"{path}[{index}]", row, "an object like the first row")
    return rows


def _height(lists: list[list[Any]]) -> int:
    heights = sorted({len(cells) for cells in lists})
    if len(heights) > 1:
        raise InvalidRequest(
            f"the columns have {' and '.join(map(str, heights))} rows, expected equally many"
        )
    return heights[0]


def _check_columns(columns: Mapping[str, object]) -> None:
    for name, cells in columns.items():
        if isinstance(cells, list):
            _check_regular(cells, ascii(name[:40]))


def _check_regular(cells: list[Any], path: str) -> None:
    """Nested lists must form a regular array, as numpy demands."""
    level = cells
    for _ in range(MAX_DIMENSIONS):
        if not any(isinstance(item, list) for item in level):
            return
        if len({len(item) if isinstance(item, list) else -1 for item in level}) > 1:
            break
        level = [inner for item in level for inner in item]
    raise MalformedBody(f"{path} is an irregular nested list, expected a list of strings")


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return not isinstance(value, dict)


def _malformed(path: str, value: object, expected: str) -> MalformedBody:
    return MalformedBody(f"{path} is {kind(value)}, expected {expected}", param=path)
