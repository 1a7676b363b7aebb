"""CSV as pandas reads a column of strings."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidRequest, MalformedBody
from edge.protocol import scoring_csv


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("prompt\na\nb\n", ["a", "b"]),
        ("prompt\na", ["a"]),
        ("prompt\r\na\r\nb\r\n", ["a", "b"]),
        ("prompt\ra\rb", ["a", "b"]),
        ("\ufeffprompt\na\n", ["a"]),
        ("prompt", []),
        ("prompt\n \n\t\n\n", []),
        ("\n  \nprompt\n\na\n", ["a"]),
        ("x,prompt,y\n1,a,2\n", ["a"]),
        ("prompt,prompt\na,b\n", ["a"]),
        ('prompt\n"a,b"\n', ["a,b"]),
        ('prompt\n"a""b"\n', ['a"b']),
        ('prompt\n"a\n\nb"\n', ["a\n\nb"]),
        ('prompt\n"a\r\nb"\n', ["a\r\nb"]),
        ('prompt\na"b\n', ['a"b']),
        ('prompt\n"a"b\n', ["ab"]),
        ('x,prompt\n1, "a"\n', [' "a"']),
        ("prompt\n a \n", [" a "]),
        ("prompt\n007\n1.50\nTrue\n", ["007", "1.50", "True"]),
        ("prompt\nx\u2028y\x0bz\n", ["x\u2028y\x0bz"]),
        ("prompt\na\0b\n", ["a\0b"]),
        ("prompt\n日本 🦊\n", ["日本 🦊"]),
        ("prompt\n" + "x" * 200_000 + "\n", ["x" * 200_000]),
    ],
)
def test_cells(text: str, cells: list[str]) -> None:
    assert scoring_csv.read(text.encode(), "prompt") == cells


@pytest.mark.parametrize("text", ["", "NA", "nan", "None", "null", "N/A", '""', '"NA"'])
def test_missing_cells(text: str) -> None:
    body = f"prompt,x\n{text},1\n".encode()
    assert scoring_csv.read(body, "prompt") == [None]


@pytest.mark.parametrize("text", ["na", "NAN", " NA", "none", "''", "-"])
def test_cells_that_only_look_missing(text: str) -> None:
    assert scoring_csv.read(f"prompt\n{text}\n".encode(), "prompt") == [text]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        (",prompt\n0,a\n1,b\n", ["a", "b"]),
        ("prompt\n0,a\n1,b\n", ["a", "b"]),
        ("prompt,x\n0,a,1\n", ["a"]),
        ("prompt\na,b,c\nd\n", ["c", None]),
        ("prompt,x\na\nb,1\n", ["a", "b"]),
    ],
)
def test_fields_in_front_of_the_header_are_an_index(text: str, cells: list[object]) -> None:
    assert scoring_csv.read(text.encode(), "prompt") == cells


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n\t\n", "the body is empty"),
        (b"prompt\n\xff\xfe\n", "the body is not UTF-8"),
        (b'prompt\n"a\n', "ends inside a quoted field"),
        (b'prompt\n"', "ends inside a quoted field"),
        (b'prompt\n"a""\n', "ends inside a quoted field"),
        (b"prompt\na\nb,c\n", "row 2 has 2 fields, expected 1"),
        (b"prompt,x\na,b\nc,d,e\n", "row 2 has 3 fields, expected 2"),
    ],
)
def test_what_is_no_csv(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        scoring_csv.read(body, "prompt")
    assert reason in str(caught.value)


@pytest.mark.parametrize("header", ["question", " prompt", "Prompt", "prompt;x", "prompt\tx"])
def test_a_header_without_the_column(header: str) -> None:
    with pytest.raises(InvalidRequest, match="Model is missing inputs"):
        scoring_csv.read(f"{header}\na\n".encode(), "prompt")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text not in scoring_csv.MISSING
)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_what_a_writer_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerows([("x", "prompt"), *rows])
    cells = scoring_csv.read(stream.getvalue().encode(), "prompt")
    assert cells == [prompt for _, prompt in rows]


def outcome(body: bytes) -> object:
    try:
        return scoring_csv.read(body, "prompt")
    except MalformedBody as error:
        return str(error)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert isinstance(outcome(b"prompt\n" + body), list | str)
