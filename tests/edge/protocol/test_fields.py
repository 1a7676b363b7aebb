"""Checked reading of JSON: each check, its message, and what must not leak into one."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidRequest, MalformedBody
from edge.protocol import fields
from edge.protocol.fields import Fields


def reading(**data):
    return Fields(data, known=tuple(data))


@pytest.mark.parametrize("value", [None, [], "text", 3, True])
def test_a_body_that_is_no_object_is_named_by_kind(value):
    with pytest.raises(InvalidRequest, match=r"^the body is .*, expected an object$"):
        Fields(value, known=())


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (b'\xef\xbb\xbf"with a mark"', "with a mark"),
        (b'"\\ud800"', "\ud800"),
        ('"caf\u00e9"'.encode(), "caf\u00e9"),
    ],
)
def test_json(raw, value):
    assert fields.parse(raw) == value


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"not JSON: Expecting value at line 1 column 1"),
        (b'{"a":\n secret}', r"at line 2 column 2$"),
        (b'{"a": NaN}', r"holds NaN"),
        (b'{"a": -Infinity}', r"holds -Infinity"),
        (b'"\xff"', r"not UTF-8 at byte 1"),
        ('{"a": 1}'.encode("utf-16"), r"not UTF-8"),
        (b"[" * 200_000, r"nested too deeply"),
        (b"9" * 5000, r"more digits"),
        (b"{} {}", r"Extra data"),
    ],
)
def test_what_is_no_json(raw, message):
    with pytest.raises(MalformedBody, match=message) as caught:
        fields.parse(raw)
    assert "secret" not in str(caught.value)
    assert caught.value.param is None


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_refused(raw):
    with contextlib.suppress(MalformedBody):
        assert json.dumps(fields.parse(raw))


def test_the_path_of_a_nested_member():
    inner = Fields({"a": 1}, "outer[2]", known=("a",))
    assert inner.path("a") == "outer[2].a"
    with pytest.raises(InvalidRequest) as caught:
        inner.text("a")
    assert caught.value.param == "outer[2].a"
    assert str(caught.value) == "outer[2].a is 1, expected a string"


def test_an_unknown_member_is_named_with_the_nearest_known_one():
    with pytest.raises(InvalidRequest) as caught:
        Fields({"temprature": 1}, known=("temperature", "top_p"))
    assert caught.value.param == "temprature"
    assert "did you mean temperature?" in str(caught.value)


def test_an_unknown_member_near_nothing_gets_no_guess():
    with pytest.raises(InvalidRequest, match=r"^zzz is not a parameter known here$"):
        Fields({"zzz": 1}, known=("temperature",))


@pytest.mark.parametrize("name", ["", "two words", "a.b", 'quo"te', "\n"])
def test_an_unknown_member_with_an_odd_name_is_quoted(name):
    with pytest.raises(InvalidRequest) as caught:
        Fields({name: 1}, known=("temperature",))
    assert str(caught.value).startswith(f"{fields.shown(name)} is not a parameter")


def test_an_unknown_member_that_belongs_elsewhere_says_where():
    with pytest.raises(InvalidRequest, match=r"echo .*; the other door takes it"):
        Fields({"echo": True}, known=(), elsewhere={"echo": "the other door takes it"})


def test_null_is_absent_even_for_unknown_members():
    empty = Fields({"a": None, "whatever": None}, known=("a",))
    assert empty.raw("a") is None
    assert empty.boolean("a") is None
    assert empty.integer("a", 0, 1) is None
    assert empty.number("a", 0, 1) is None
    assert empty.text("a") is None
    assert empty.keyword("a", ("x",)) is None


@pytest.mark.parametrize("data", [{}, {"a": None}])
def test_a_required_member_must_be_there(data):
    with pytest.raises(InvalidRequest, match=r"^a is missing, expected a cat$") as caught:
        Fields(data, known=("a",)).required("a", "a cat")
    assert caught.value.param == "a"


def test_a_required_member_comes_back_unchecked():
    assert reading(a=[1]).required("a", "a list") == [1]


@pytest.mark.parametrize("value", [0, 1, "true", [], 1.0])
def test_a_boolean_is_neither_a_number_nor_a_word(value):
    with pytest.raises(InvalidRequest, match=r"expected true or false"):
        reading(a=value).boolean("a")


@pytest.mark.parametrize("value", [True, False])
def test_booleans(value):
    assert reading(a=value).boolean("a") is value


@pytest.mark.parametrize(("value", "read"), [(0, 0), (7, 7), (3.0, 3)])
def test_integers(value, read):
    found = reading(a=value).integer("a", 0, 7)
    assert found == read
    assert type(found) is int


@pytest.mark.parametrize(
    "value", [-1, 8, True, "3", 2.5, float("nan"), float("inf"), [], {}, 10**400]
)
def test_what_is_no_integer_in_range(value):
    with pytest.raises(InvalidRequest, match=r"expected a whole number from 0 to 7"):
        reading(a=value).integer("a", 0, 7)


@pytest.mark.parametrize("value", [0, 2, 1.5, 0.0])
def test_numbers_become_floats(value):
    found = reading(a=value).number("a", 0, 2)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    "value", [-0.1, 2.1, False, "1", float("nan"), float("inf"), -float("inf"), None, 10**400, []]
)
def test_what_is_no_number_in_range(value):
    with pytest.raises(InvalidRequest, match=r"^a is .*, expected a number from 0 to 2$"):
        fields.check_number(value, "a", 0, 2)


def test_text_may_hold_any_whole_character():
    text = "\0 line\n \N{SNOWMAN} \U0001f600"
    assert reading(a=text).text("a") == text


@pytest.mark.parametrize("value", ["\ud800", "ab\udfff", "\udc00\ud800"])
def test_a_lone_surrogate_is_refused_with_its_place(value):
    with pytest.raises(InvalidRequest, match=r"lone surrogate U\+D[8-F]\w\w at character \d"):
        reading(a=value).text("a")


def test_the_error_about_a_surrogate_can_be_encoded():
    with pytest.raises(InvalidRequest) as caught:
        Fields({"\ud800": 1}, known=())
    assert str(caught.value).encode()
    assert caught.value.param is not None
    assert caught.value.param.encode()


def test_keywords():
    assert reading(a="x").keyword("a", ("x", "y")) == "x"
    with pytest.raises(InvalidRequest, match=r'^a is "z", expected "x", "y" or "w"$'):
        reading(a="z").keyword("a", ("x", "y", "w"))
    with pytest.raises(InvalidRequest, match=r'^a is 3, expected "x"$'):
        reading(a=3).keyword("a", ("x",))


def test_lists_and_objects():
    assert fields.check_list([1], "a") == [1]
    assert fields.check_object({"b": 1}, "a") == {"b": 1}
    with pytest.raises(InvalidRequest, match=r"^a is an object, expected a list$"):
        fields.check_list({}, "a")
    with pytest.raises(InvalidRequest, match=r"^a is a list of 2, expected an object$"):
        fields.check_object([1, 2], "a")


def test_text_that_was_no_keyword_or_number_never_shows():
    secret = "my secret prompt"
    for check in (fields.check_list, fields.check_object):
        with pytest.raises(InvalidRequest) as caught:
            check(secret, "messages")
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("short", '"short"'),
        ("x" * 100, '"' + "x" * 40 + '..."'),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (-7, "-7"),
        (2.5, "2.5"),
        (float("nan"), "not a finite number"),
        ([1, [2]], "a list of 2"),
        ({"a": 1}, "an object"),
        ("caf\u00e9\n", r'"caf\xe9\n"'),
    ],
)
def test_values_are_shown_short(value, text):
    assert fields.shown(value) == text


def test_a_number_too_long_to_print_is_measured():
    assert fields.shown(10**5000) == "a whole number of 16610 bits"


def test_a_long_unknown_name_is_cut():
    with pytest.raises(InvalidRequest) as caught:
        Fields({"k" * 100_000: 1}, known=("temperature",))
    assert len(str(caught.value)) < 120
    assert caught.value.param is not None
    assert len(caught.value.param) < 60


def nested(levels, wrap):
    value = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value, "b": []}])
def test_how_deep_a_value_may_be(wrap):
    fields.check_depth(nested(5, wrap), "x", 5)
    for levels in (6, 900):
        with pytest.raises(InvalidRequest) as caught:
            fields.check_depth(nested(levels, wrap), "x", 5)
        assert caught.value.param == "x"
        assert "more than 5 deep" in str(caught.value)


def test_json_within_a_string():
    assert fields.parse_text('{"a": [1, null]}', "x") == {"a": [1, None]}
    for text in ("", "{", "NaN", "[" * 100_000, "9" * 5000):
        with pytest.raises(InvalidRequest) as caught:
            fields.parse_text(text, "tools[0]")
        assert str(caught.value) == "tools[0] is a string that is no JSON, expected JSON"
