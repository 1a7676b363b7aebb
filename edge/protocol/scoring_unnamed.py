"""Tables for a model whose one column has no name, as text-generation pipelines are logged.

MLflow takes the first column of whatever table comes; here it is found and named, so that the
readers of named columns can take it. For the meaning of the errors see `scoring_frame`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.errors import InvalidRequest, MalformedBody
from edge.protocol import scoring_split
from edge.protocol.fields import kind

# The label of a column where the table itself has none: the one that pandas gives, as text.
FIRST = "0"


def name_column(name: str, value: object) -> tuple[object, str]:
    """The table `value` of the format `name`, and the label of its first column in it.

    Raises `MalformedBody` or `InvalidRequest`.
    """
    if name == "dataframe_records":
        return _records(value)
    if name == "dataframe_split":
        return _split(value)
    return _tensor(name, value)


def check_rows(rows: Sequence[Any]) -> None:
    """That there is a row: a table without any has no column that could be the first."""
    if not rows:
        raise InvalidRequest("Model inference is missing inputs: the table has no rows.")


def _records(value: object) -> tuple[object, str]:
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        return [{FIRST: _first_cell(row)} for row in value], FIRST
    return value, _first_key(value)


def _split(value: object) -> tuple[object, str]:
    labels = scoring_split.labels(value)
    if labels:
        return value, labels[0]
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(data, list):
        return value, FIRST
    return {**value, "columns": [FIRST], "data": [[_first_cell(row)] for row in data]}, FIRST


def _tensor(name: str, value: object) -> tuple[object, str]:
    if isinstance(value, dict) or value is None:
        expected = "a string or a list: the column of this model has no name"
        raise MalformedBody(f"{name} is {kind(value)}, expected {expected}", param=name)
    if not isinstance(value, list):
        return [value], FIRST
    if value and isinstance(value[0], dict):
        return value, _first_key(value)
    return [_first_cell(row) for row in value], FIRST


def _first_key(rows: object) -> str:
    first = rows[0] if isinstance(rows, list) and rows else {}
    return next(iter(first), FIRST)


def _first_cell(row: object) -> object:
    return row[0] if isinstance(row, list) and row else row
