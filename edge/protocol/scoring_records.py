"""Tables of several columns: the rows of a JSON scoring request as objects.

For the `llm/v1` signatures, where options stand in columns beside the conversation or the prompt.
`wanted` are the columns to look for, the first of which must be there; other columns are ignored.
For the meaning of the errors see `scoring_frame`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.errors import MalformedBody
from edge.protocol import scoring_split
from edge.protocol.fields import kind
from edge.protocol.scoring_frame import missing

Row = Mapping[str, Any]


def from_records(value: object, wanted: Sequence[str]) -> list[Row]:
    """`dataframe_records`: a list of objects, one a row."""
    if not isinstance(value, list):
        raise _malformed("dataframe_records", value, "a list of objects")
    return _rows(value, wanted, "dataframe_records")


def from_split(value: object, wanted: Sequence[str]) -> list[Row]:
    """`dataframe_split`: labels and rows of cells."""
    columns = {wanted[0]: scoring_split.from_split(value, wanted[0])}
    labels = scoring_split.labels(value)
    for name in wanted[1:]:
        if name in labels:
            columns[name] = scoring_split.from_split(value, name)
    return _transposed(columns)


def from_inputs(value: object, wanted: Sequence[str]) -> list[Row]:
    """`inputs`: a list of objects, one a row; an object of columns, or of one row's cells."""
    return _from_tensors(value, wanted, "inputs")


def from_instances(value: object, wanted: Sequence[str]) -> list[Row]:
    """`instances`: the same as `inputs`."""
    return _from_tensors(value, wanted, "instances")


def _from_tensors(value: object, wanted: Sequence[str], path: str) -> list[Row]:
    if isinstance(value, list):
        return _rows(value, wanted, path)
    if not isinstance(value, dict) or wanted[0] not in value:
        raise missing(wanted[0])
    if not _is_column(value[wanted[0]]):
        return [value]
    height = len(value[wanted[0]])
    return _transposed({name: _column(value[name], height) for name in wanted if name in value})


def _is_column(cells: object) -> bool:
    """Whether it is a list of prompts or of conversations, which are lists of objects."""
    return isinstance(cells, list) and bool(cells) and not isinstance(cells[0], dict)


def _column(cells: object, height: int) -> list[Any]:
    """A cell a row; one value, or one list of stop strings, stands for all rows."""
    if isinstance(cells, list) and (len(cells) == height or not _is_column(cells)):
        return cells
    return [cells] * height


def _rows(items: list[Any], wanted: Sequence[str], path: str) -> list[Row]:
    if not any(isinstance(item, dict) and wanted[0] in item for item in items):
        raise missing(wanted[0])
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise _malformed(f"{path}[{index}]", item, "an object like the first row")
    return items


def _transposed(columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    heights = {len(cells) for cells in columns.values()}
    if len(heights) > 1:
        shown = " and ".join(map(str, sorted(heights)))
        raise MalformedBody(f"the columns have {shown} rows, expected equally many")
    names = list(columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _malformed(path: str, value: object, expected: str) -> MalformedBody:
    return MalformedBody(f"{path} is {kind(value)}, expected {expected}", param=path)
