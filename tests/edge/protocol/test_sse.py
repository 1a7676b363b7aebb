"""Server-sent events: what a strict reader of the format gets back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.protocol import sse

json_text = st.text(st.characters(exclude_categories=["Cs"]))


def test_an_event_is_one_data_line_and_an_empty_one():
    assert sse.event({"a": 1, "b": None}) == b'data: {"a":1,"b":null}\n\n'


def test_the_end():
    assert sse.DONE == b"data: [DONE]\n\n"


@given(json_text)
def test_no_text_breaks_the_frame_for_any_reader(text):
    raw = sse.event({"text": text})
    lines = raw.decode().splitlines()
    assert len(lines) == 2
    assert lines[1] == ""
    assert json.loads(lines[0].removeprefix("data: ")) == {"text": text}


def test_a_number_beyond_json_is_a_bug():
    with pytest.raises(ValueError, match="JSON"):
        sse.event({"a": float("nan")})
