"""Guided answers of a real model with a hot temperature: they always parse, and they end."""

from __future__ import annotations

import functools
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edge.engine.guidance import Grammars
from edge.errors import InvalidRequest
from edge.generation import Guidance, Sampling

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
CHOICE = {"anyOf": [{"const": "left"}, {"const": "right"}, {"type": "boolean"}]}
NESTED = {
    "type": "object",
    "properties": {"at": {"$ref": "#/$defs/point"}},
    "required": ["at"],
    "additionalProperties": False,
    "$defs": {
        "point": {
            "type": "object",
            "properties": {"x": {"type": "integer", "maximum": 99, "minimum": -99}},
            "required": ["x"],
            "additionalProperties": False,
        }
    },
}
MOST_TOKENS = 400


def is_person(value):
    return (
        {"name", "age"} <= value.keys() <= {"name", "age", "tags"}
        and len(value["name"]) <= 12
        and type(value["age"]) is int
        and 0 <= value["age"] <= 150
        and len(value.get("tags", [])) <= 3
        and set(value.get("tags", [])) <= {"a", "b"}
    )


def is_choice(value):
    return value in ("left", "right") or type(value) is bool


def is_nested(value):
    return value.keys() == {"at"} and value["at"].keys() == {"x"} and abs(value["at"]["x"]) <= 99


CHECKED = {
    "person": (PERSON, is_person),
    "choice": (CHOICE, is_choice),
    "nested": (NESTED, is_nested),
}


def answer(engine, tokenizer, limits, guidance, **fields):
    """The text of a guided answer and whether it ended by itself."""
    sampling = Sampling(**{"temperature": 1.5, "guidance": guidance, **fields})
    row = engine.open(
        tokenizer.encode("Answer:"),
        MOST_TOKENS,
        sampling,
        constraint=tokenizer.constrain(guidance),
    )
    ids = []
    for _ in range(MOST_TOKENS + 5):
        step = engine.advance([row])[0]
        assert step.error is None
        if step.choice is None:
            continue
        if step.choice.token in limits.eos_ids:
            engine.close(row)
            return b"".join(map(tokenizer.token_bytes, ids)).decode(), True
        ids.append(step.choice.token)
        if len(ids) == MOST_TOKENS:
            break
    engine.close(row)
    return b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", "replace"), False


@pytest.mark.parametrize("name", sorted(CHECKED))
@pytest.mark.parametrize("seed", range(6))
def test_answers_follow_their_schema(engine, tokenizer, limits, name, seed):
    schema, is_valid = CHECKED[name]
    guidance = Guidance("json_schema", json.dumps(schema))
    text, ended = answer(engine, tokenizer, limits, guidance, seed=seed)
    assert ended
    assert is_valid(json.loads(text))


@pytest.mark.parametrize("seed", range(4))
def test_any_json_object(engine, tokenizer, limits, seed):
    """Free objects may not end in time, but never leave the grammar."""
    text, ended = answer(engine, tokenizer, limits, Guidance("json_object"), seed=seed)
    assert text.startswith("{")
    if ended:
        assert isinstance(json.loads(text), dict)


def test_a_greedy_answer_follows_it_too(engine, tokenizer, limits):
    guidance = Guidance("json_schema", json.dumps(PERSON))
    text, ended = answer(engine, tokenizer, limits, guidance, temperature=0.0)
    if ended:
        assert is_person(json.loads(text))
    assert text.startswith("{")


@pytest.mark.parametrize("knobs", [{"top_k": 1}, {"top_p": 0.1}, {"min_p": 0.9}], ids=str)
def test_narrow_sampling_does_not_break_the_grammar(engine, tokenizer, limits, knobs):
    guidance = Guidance("json_schema", json.dumps(CHOICE))
    text, ended = answer(engine, tokenizer, limits, guidance, seed=1, **knobs)
    assert ended
    assert is_choice(json.loads(text))


def test_a_bias_against_the_only_way_does_not_leave_the_grammar(engine, tokenizer, limits):
    bias = dict.fromkeys(tokenizer.encode('"left"').tolist(), -100.0)
    guidance = Guidance("json_schema", json.dumps({"const": "left"}))
    text, ended = answer(engine, tokenizer, limits, guidance, seed=1, logit_bias=bias)
    assert (json.loads(text), ended) == ("left", True)


@pytest.mark.parametrize("seed", range(4))
def test_a_regex(engine, tokenizer, limits, seed):
    guidance = Guidance("regex", r"[0-9]{3}-[a-f]{2}")
    text, ended = answer(engine, tokenizer, limits, guidance, seed=seed)
    assert ended
    assert re.fullmatch(r"[0-9]{3}-[a-f]{2}", text)


def test_a_lark_grammar(engine, tokenizer, limits):
    guidance = Guidance("lark", 'start: ("yes" | "no") "!"')
    text, ended = answer(engine, tokenizer, limits, guidance, seed=3)
    assert (text in ("yes!", "no!"), ended) == (True, True)


def test_side_by_side(engine, tokenizer, limits):
    guidances = [Guidance("regex", f"{number}+x") for number in range(1, 5)]
    rows = [
        engine.open(
            tokenizer.encode("n"), 60, Sampling(seed=1), constraint=tokenizer.constrain(guidance)
        )
        for guidance in guidances
    ]
    said = [[] for _ in rows]
    open_rows = dict(enumerate(rows))
    for _ in range(80):
        for place, step in zip(
            list(open_rows), engine.advance(list(open_rows.values())), strict=True
        ):
            if step.choice and (
                step.choice.token in limits.eos_ids or said[place].append(step.choice.token)
            ):
                engine.close(open_rows.pop(place))
    for number, ids in enumerate(said, start=1):
        text = b"".join(map(tokenizer.token_bytes, ids)).decode()
        assert re.fullmatch(f"{number}+x?", text)


@pytest.mark.parametrize(
    ("guidance", "named"),
    [
        (Guidance("json_schema", '{"type": "object", "properties": 3}'), "json_schema"),
        (Guidance("json_schema", '{"type": "florp"}'), "florp"),
        (Guidance("json_schema", "not json"), "json_schema"),
        (Guidance("json_schema", '{"$ref": "https://elsewhere.example/s"}'), "json_schema"),
        (Guidance("json_schema", '{"type": "string", "pattern": "(("}'), "json_schema"),
        (Guidance("regex", "a(b"), "regex"),
        (Guidance("lark", "start: missing"), "missing"),
        (Guidance("lark", "%%%"), "lark"),
    ],
    ids=repr,
)
def test_what_is_wrong_with_a_grammar_is_said(tokenizer, guidance, named):
    with pytest.raises(InvalidRequest) as caught:
        tokenizer.constrain(guidance)
    assert named in str(caught.value)
    assert caught.value.param == "response_format"
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_compiled_grammars_are_kept(demo_model):
    fresh = Grammars((demo_model / "tokenizer.json").read_text(), [0])
    for _ in range(5):
        fresh.constrain(Guidance("regex", "kept"))
    found = fresh._compiled.cache_info()
    assert (found.misses, found.hits) == (1, 4)


def test_equal_requests_at_once_compile_once(demo_model):
    fresh = Grammars((demo_model / "tokenizer.json").read_text(), [0])
    compiled = []

    def slowly(guidance):
        compiled.append(guidance)
        time.sleep(0.05)
        return fresh._compile(guidance)

    fresh._compiled = functools.lru_cache(8)(slowly)
    wanted = [Guidance("regex", "one", param) for param in ("a", "b")] * 4
    with ThreadPoolExecutor(8) as pool:
        constraints = list(pool.map(fresh.constrain, wanted))
    assert len(compiled) == 1
    assert len({id(constraint) for constraint in constraints}) == 8


def test_an_error_names_the_parameter_that_the_grammar_came_from(tokenizer):
    for kind, source in (("regex", "a(b"), ("lark", "start: nothing"), ("json_schema", "{")):
        with pytest.raises(InvalidRequest) as caught:
            tokenizer.constrain(Guidance(kind, source, "structured_outputs"))
        assert caught.value.param == "structured_outputs"


def test_what_is_wrong_with_a_regex_is_said(tokenizer):
    with pytest.raises(InvalidRequest, match="unclosed group"):
        tokenizer.constrain(Guidance("regex", "a(b"))


def test_many_threads_compile_and_follow(tokenizer, limits):
    """Few grammars, many threads: each answer has its own place in the shared one."""

    def follow(number):
        word = f"word{number % 5}"
        constraint = tokenizer.constrain(Guidance("regex", word))
        text = b""
        while True:
            token = int(np.flatnonzero(constraint.allowed(limits.vocab_size))[0])
            if token in limits.eos_ids:
                return text.decode() == word
            text += tokenizer.token_bytes(token)
            constraint.accept(token)

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(follow, range(120)))


def test_a_vocabulary_larger_than_the_tokenizers(tokenizer, limits):
    """Models pad their vocabulary: what the tokenizer does not know may never come."""
    constraint = tokenizer.constrain(Guidance("json_object"))
    wide = constraint.allowed(limits.vocab_size + 64)
    assert wide.shape == (limits.vocab_size + 64,)
    assert not wide[limits.vocab_size :].any()


def test_a_tokenizer_that_the_library_cannot_read():
    with pytest.raises(InvalidRequest):
        Grammars("{}", [0])
