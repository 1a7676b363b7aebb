"""Typed decoding of JSON, with every problem reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.manifest_codec import decode


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 3


@dataclass(frozen=True)
class Outer:
    title: str
    kind: Literal["a", "b"]
    inner: Inner
    rows: tuple[Inner, ...] = ()
    share: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    anything: Any = None
    is_on: bool = False


GOOD = {
    "title": "t",
    "kind": "a",
    "inner": {"name": "n"},
    "rows": [{"name": "x", "size": 1}, {"name": "y"}],
    "share": 1,
    "tags": {"k": "v"},
    "anything": [1, {"z": None}],
    "is_on": True,
}


def problems(data, kind=Outer):
    found = []
    assert decode(kind, data, "manifest", found) is None
    return found


def test_a_whole_record():
    found = []
    value = decode(Outer, GOOD, "manifest", found)
    assert found == []
    assert value == Outer(
        "t",
        "a",
        Inner("n"),
        (Inner("x", 1), Inner("y")),
        1.0,
        {"k": "v"},
        [1, {"z": None}],
        True,
    )
    assert type(value.share) is float


def test_defaults_stand_in_for_what_is_absent():
    value = decode(Outer, {"title": "t", "kind": "b", "inner": {"name": ""}}, "manifest", [])
    assert (value.rows, value.share, value.tags, value.is_on) == ((), None, {}, False)


def test_null_is_good_only_where_it_is_declared():
    assert decode(Outer, {**GOOD, "share": None}, "manifest", []).share is None
    assert problems({**GOOD, "title": None}) == ["manifest.title is None, expected a str"]


@pytest.mark.parametrize(
    ("member", "value", "problem"),
    [
        ("title", 3, "manifest.title is 3, expected a str"),
        ("kind", "c", "manifest.kind is 'c', expected one of 'a', 'b'"),
        ("kind", ["a"], "manifest.kind is ['a'], expected one of 'a', 'b'"),
        ("inner", [], "manifest.inner is [], expected an object"),
        ("inner", {"name": "n", "size": True}, "manifest.inner.size is True, expected a int"),
        ("inner", {"name": "n", "size": 1.0}, "manifest.inner.size is 1.0, expected a int"),
        ("rows", {}, "manifest.rows is {}, expected a list"),
        ("rows", "ab", "manifest.rows is 'ab', expected a list"),
        ("rows", [{"name": "x"}, {}], "manifest.rows[1].name is missing"),
        ("share", "1", "manifest.share is '1', expected a float"),
        ("share", True, "manifest.share is True, expected a float"),
        ("tags", {"k": 1}, "manifest.tags.k is 1, expected a str"),
        ("tags", [], "manifest.tags is [], expected an object"),
        ("is_on", 1, "manifest.is_on is 1, expected a bool"),
    ],
)
def test_one_problem(member, value, problem):
    assert problems({**GOOD, member: value}) == [problem]


def test_every_problem_is_listed():
    found = problems({"kind": "z", "inner": {"size": "big"}, "extra": 1, "rows": [3, {"nam": ""}]})
    assert sorted(found) == [
        "manifest.extra is unknown",
        "manifest.inner.name is missing",
        "manifest.inner.size is 'big', expected a int",
        "manifest.kind is 'z', expected one of 'a', 'b'",
        "manifest.rows[0] is 3, expected an object",
        "manifest.rows[1].nam is unknown",
        "manifest.rows[1].name is missing",
        "manifest.title is missing",
    ]


def test_problems_found_before_do_not_count_against_a_good_record():
    earlier = ["something else"]
    assert decode(Inner, {"name": "n"}, "x", earlier) == Inner("n")
    assert earlier == ["something else"]


def test_long_values_are_shortened():
    (problem,) = problems({**GOOD, "kind": "x" * 5000})
    assert len(problem) < 200


RECORDS = st.builds(
    Outer,
    title=st.text(),
    kind=st.sampled_from(["a", "b"]),
    inner=st.builds(Inner, st.text(), st.integers()),
    rows=st.lists(st.builds(Inner, st.text(), st.integers())).map(tuple),
    share=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    tags=st.dictionaries(st.text(), st.text()),
    is_on=st.booleans(),
)


@given(RECORDS)
def test_records_survive_json(record):
    data = json.loads(json.dumps(asdict(record)))
    assert decode(Outer, data, "manifest", []) == record


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), JSON))
def test_no_json_makes_it_raise(data):
    found = []
    value = decode(Outer, data, "manifest", found)
    assert (value is None) == bool(found)
