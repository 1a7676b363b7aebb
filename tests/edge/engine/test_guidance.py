"""Grammars over a byte vocabulary: what may come next, spacing, and grammars that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge.engine.guidance import Grammars
from edge.errors import InvalidRequest
from edge.generation import Guidance

EOS = 256


def byte_level_names():
    """The characters under which byte-level tokenizers (GPT-2's table) name the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable}
    return names | {byte: chr(256 + place) for place, byte in enumerate(others)}


@pytest.fixture(scope="module")
def grammars():
    vocabulary = {name: byte for byte, name in byte_level_names().items()}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": EOS,
                "content": "<|end|>",
                "special": True,
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            }
        ],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    return Grammars(json.dumps(tokenizer), [EOS])


def follows(grammars, guidance, text):
    """How many characters of `text` the grammar takes, and whether it may end there."""
    constraint = grammars.constrain(guidance)
    for place, byte in enumerate(text.encode()):
        if not constraint.allowed(EOS + 1)[byte]:
            return place, False
        constraint.accept(byte)
    return len(text), bool(constraint.allowed(EOS + 1)[EOS])


def schema(**members):
    return Guidance("json_schema", json.dumps(members))


PAIR = schema(
    type="object",
    properties={"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "boolean"}}},
    required=["a", "b"],
    additionalProperties=False,
)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":[true]}',
        '{"a": 1, "b": [true, false]}',
        '{\n  "a": 1,\n  "b": [\n    true\n  ]\n}',
    ],
)
def test_json_in_any_common_layout(grammars, text):
    assert follows(grammars, PAIR, text) == (len(text), True)


@pytest.mark.parametrize("guidance", [PAIR, Guidance("json_object")])
@pytest.mark.parametrize("spaces", ["  ", "\n\n", "\t", "\n" + " " * 17])
def test_no_answer_is_made_of_whitespace(grammars, guidance, spaces):
    taken, _ = follows(grammars, guidance, "{" + spaces)
    assert taken < 1 + len(spaces)


def test_what_the_schema_does_not_allow(grammars):
    assert follows(grammars, PAIR, '{"a": "x"') == (6, False)
    assert follows(grammars, PAIR, '{"a": 1}') == (7, False)


def test_any_object(grammars):
    text = '{"x": [1, {"y": null}]}'
    assert follows(grammars, Guidance("json_object"), text) == (len(text), True)
    assert follows(grammars, Guidance("json_object"), "[1]") == (0, False)


def test_a_regex(grammars):
    guidance = Guidance("regex", "(yes|no)!{1,2}")
    assert follows(grammars, guidance, "yes!!") == (5, True)
    assert follows(grammars, guidance, "yes") == (3, False)
    assert follows(grammars, guidance, "maybe") == (0, False)


def test_a_lark_grammar(grammars):
    guidance = Guidance("lark", 'start: "a" "b"*')
    assert follows(grammars, guidance, "abbb") == (4, True)


def test_only_the_end_comes_after_the_end(grammars):
    constraint = grammars.constrain(Guidance("regex", "a"))
    constraint.accept(ord("a"))
    constraint.accept(EOS)
    assert np.flatnonzero(constraint.allowed(EOS + 1)).tolist() == [EOS]


def test_answers_do_not_share_their_place(grammars):
    first, second = grammars.constrain(PAIR), grammars.constrain(PAIR)
    first.accept(ord("{"))
    assert second.allowed(EOS + 1)[ord("{")]
    assert not first.allowed(EOS + 1)[ord("{")]


@pytest.mark.parametrize(
    "guidance",
    [
        Guidance("json_schema", "{"),
        Guidance("json_schema", '{"type": "no such type"}'),
        Guidance("regex", "(("),
        Guidance("lark", "start: nothing_defined"),
    ],
)
def test_grammars_that_are_none_are_the_callers_fault(grammars, guidance):
    with pytest.raises(InvalidRequest) as caught:
        grammars.constrain(guidance)
    assert caught.value.param == "response_format"
