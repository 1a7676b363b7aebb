"""Media types are compared as MLflow compares them: exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import UnsupportedMedia
from edge.protocol import scoring_media


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", "json"),
        (" application/json ", "json"),
        ("application/json;charset=utf-8", "json"),
        ("application/json;  charset=UTF-8  ", "json"),
        ("application/json; charset=latin-1; charset=utf-8", "json"),
        ("text/csv", "csv"),
        ("text/csv; charset=utf-8", "csv"),
    ],
)
def test_what_is_spoken(content_type: str, expected: str) -> None:
    assert scoring_media.read(content_type) == expected


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        (None, "Content-Type is missing, expected application/json or text/csv"),
        ("", "the Content-Type is '', expected application/json or text/csv"),
        ("Application/JSON", "the Content-Type is 'Application/JSON'"),
        ("application/x-ndjson", "the Content-Type is 'application/x-ndjson'"),
        ("application/json, text/csv", "the Content-Type is 'application/json, text/csv'"),
        ("application/json; charset=iso-8859-1", "charset of the Content-Type is not supported"),
        ('application/json; charset="utf-8"', "charset of the Content-Type is not supported"),
        ("application/json; charset", "charset of the Content-Type is not supported"),
        ("text/plain; charset=latin-1", "charset of the Content-Type is not supported"),
        ("application/json; Charset=utf-8", "unknown parameters of the Content-Type: 'Charset'"),
        ("application/json;", "unknown parameters of the Content-Type: ''"),
        ("text/csv; b=1; a=2", "unknown parameters of the Content-Type: 'a', 'b'"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet is not supported here"),
    ],
)
def test_what_is_refused(content_type: str | None, reason: str) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        scoring_media.read(content_type)
    assert reason in str(caught.value)


def outcome(content_type: str) -> str:
    try:
        return scoring_media.read(content_type)
    except UnsupportedMedia as error:
        return str(error)


@given(st.text())
def test_any_text_is_read_or_refused_in_ascii(content_type: str) -> None:
    assert outcome(content_type).isascii()


def test_a_long_media_type_is_cut() -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        scoring_media.read("x" * 10_000)
    assert len(str(caught.value)) < 200
