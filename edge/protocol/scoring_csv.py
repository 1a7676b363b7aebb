"""One column out of a CSV body, as `pandas.read_csv` reads a column of strings.

The first row is the header. Lines of nothing but spaces and tabs are skipped. Where the first row
of data has more fields than the header, the fields in front are an index without a name, which
is how `to_csv(index_label=False)` writes one. Later rows may be shorter, never longer.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator

from edge.errors import MalformedBody
from edge.protocol.scoring_frame import Cells, missing

# What pandas takes for a missing value, quoted or not (`pandas._libs.parsers.STR_NA_VALUES`).
MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_END = "\0end of the body\0"

# A prompt may be longer than the module's limit of 131072 characters; the body is bounded anyway.
csv.field_size_limit(sys.maxsize)


def read(body: bytes, column: str) -> Cells:
    """The cells of `column`; a missing one is None.

    Without a name it is the first column that has one: `to_csv` writes the index under none.
    Raises `MalformedBody` where the bytes are not UTF-8 or no CSV, `InvalidRequest` where the
    column is missing.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8: {error.reason}") from error
    rows = _rows(text.removeprefix("\ufeff"))
    header = next(rows, None)
    if header is None:
        raise MalformedBody("the body is empty, expected CSV with a header")
    data = list(_regular(rows, len(header)))
    column = column or next(filter(None, header), "")
    if not column or column not in header:
        raise missing(column)
    width = max([len(header), *map(len, data[:1])])
    place = header.index(column) + width - len(header)
    return [_cell(row, place) for row in data]


def _rows(text: str) -> Iterator[list[str]]:
    """The rows of fields; raises `MalformedBody` where a quoted field never ends."""
    lines = _Lines(text)
    row: list[str] = []
    for row in csv.reader(lines):
        lines.is_between_rows = True
        if row != [_END]:
            yield row
    if row != [_END]:
        raise MalformedBody("the body ends inside a quoted field")


class _Lines:
    """The lines of a text and one to mark its end, without blank lines between rows."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text if text.endswith(("\n", "\r")) else text + "\n", newline="")
        self.is_between_rows = True

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if self.is_between_rows and not line.strip(" \t\r\n"):
                continue
            self.is_between_rows = False
            yield line
        yield _END


def _regular(rows: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    for number, row in enumerate(rows):
        if number == 0:
            width = max(width, len(row))
        if len(row) > width:
            raise MalformedBody(f"row {number + 1} has {len(row)} fields, expected {width}")
        yield row


def _cell(row: list[str], place: int) -> str | None:
    text = row[place] if place < len(row) else ""
    return None if text in MISSING else text
