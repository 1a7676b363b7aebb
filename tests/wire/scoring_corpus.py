"""Requests that are put to MLflow's own server and to the appliance: JSON bodies and params."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.wire.exchange import Call

TEXTS = [
    *("a", "", "  ", " lead", "trail ", "tab\t", "new\nline", "cr\r\nlf", 'quote"', "\\", "é"),
    *("日本語", "🦊", "a\0b", "\x7f", "\u2028", "\ufeff", "\ufffd", "e\u0301", "x" * 5000),
    *("NaN", "null", "None", "true", "1", "[]", "{}", "</s>", "<|user|>hi<|end|>", "a,b"),
    *("\x1b[0m", "\ufdd0", "\U0010ffff", "%s {}", "boom ", "Boom", "a|b"),
]
SCALARS = [None, 5, -1, 2**63 - 1, 2**63, 2**64, 10**30, 1.5, 1.0, 1e20, 1e-7, True, False]
LISTS = [
    *([], ["a"], ["a", "b"], [1], [None], [[]], [["a"]], [["a", "b"]], [["a"], ["b"]], [1, "a"]),
    *(["a", None], ["a", 1.5], ["a", True], [1, 2.5], ["a", ["b"]], ["a", {}], [["a"], ["b", 1]]),
]
OBJECTS = [{}, {"a": 1}, {"prompt": "x"}, [{"prompt": "x"}], [{}]]
VALUES = [*SCALARS, "a", "", *LISTS, *OBJECTS]

RECORDS = [
    [{"prompt": "a", "x": 1}],
    [{"x": 1, "prompt": "a"}],
    [{"x": "a"}],
    [{"prompt": "a"}, {"x": "b"}],
    [{"x": "b"}, {"prompt": "a"}],
    [{"Prompt": "a"}],
    [{" prompt": "a"}],
    [{}, {"prompt": "a"}],
    [{"prompt": "a"}, None],
    [None, {"prompt": "a"}],
    [{"prompt": "a"}, "b"],
    [{"prompt": "a"}, ["b"]],
    [["b"], {"prompt": "a"}],
    ["b", {"prompt": "a"}],
    [{"prompt": f"p{i}"} for i in range(50)],
]
SPLITS: list[dict[str, Any]] = [
    {"columns": ["prompt", "x"], "data": [["a", 1], ["b", 2]]},
    {"columns": ["x", "prompt"], "data": [[1, "a"], [2, "b"]]},
    {"columns": ["prompt", "prompt"], "data": [["a", "b"]]},
    {"columns": ["prompt", "x", "x"], "data": [["a", 1, 2]]},
    {"columns": ["prompt", "x"], "data": [["a"], ["b", 2]]},
    {"columns": ["prompt", "x"], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "data": [["a"], ["b", 2]]},
    {"columns": ["prompt"], "data": ["a", "b"]},
    {"columns": ["prompt", "x"], "data": ["a", "b"]},
    {"columns": ["prompt"], "index": [0, 1], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": ["x", "y"], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": [7, 7], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": [0], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": [0, 1, 2], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": None, "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": "ab", "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": [[0, 1], ["x", "y"]], "data": [["a"], ["b"]]},
    {"columns": ["prompt"], "index": [0, 1], "data": []},
    {"columns": ["prompt"], "index": [0, 1], "data": [["a"]]},
    {"columns": ["prompt"], "index": [0, 1], "data": ["a"]},
    {"columns": ["x"], "data": [["a"]]},
    {"columns": [], "data": [["a"]]},
    {"columns": [0], "data": [["a"]]},
    {"columns": ["prompt", None], "data": [["a", 1]]},
    {"columns": ["prompt"], "data": [{"prompt": "a", "x": 1}]},
    {"columns": ["prompt"], "data": {"prompt": ["a", "b"]}},
    {"columns": ["x"], "data": {"prompt": ["a", "b"]}},
    {"columns": ["prompt"], "data": [["a"]], "x": 1},
    {"columns": ["prompt"]},
    {"columns": ["prompt"], "data": [[]]},
    {"columns": ["prompt"], "data": [["a"], None]},
    {"columns": ["prompt"], "data": [["a"], "b"]},
    {"columns": ["prompt", "x"], "data": [["a", "b"], "cd"]},
    {"data": [{"prompt": "a"}]},
    {"data": {"prompt": ["a", "b"]}},
    {"data": {"prompt": {"0": "a"}}},
    {"data": {"prompt": "a"}},
    {"index": [0, 1], "data": {"prompt": "a"}},
    {"index": [0, 1], "columns": ["prompt"], "data": "a"},
    {"index": [1, 2], "data": [[1], [2], [3]]},
    {"index": [0], "data": [["a"]]},
]
TENSORS: list[Any] = [
    [{"prompt": "a", "x": 1}],
    [{"x": "a"}],
    [{"prompt": "a"}, {"x": "b"}],
    [{"prompt": "a", "x": 1}, {"prompt": "b"}],
    ["a", {"prompt": "b"}],
    {"prompt": ["a", "b"], "x": [1, 2]},
    {"prompt": ["a", "b"], "x": [1]},
    {"prompt": ["a", "b"], "x": 1},
    {"prompt": ["a", "b"], "x": {}},
    {"prompt": "a", "x": "b"},
    {"prompt": "a", "x": 1},
    {"prompt": "a", "x": [1]},
    {"prompt": "a", "x": [1, 2]},
    {"x": ["a"]},
    [["a", "b"], ["c", "d"]],
    [[["a"]]],
    ["a ", "b  ", " c"],
    ["boom"],
]
UNWRAPPED: list[dict[str, Any]] = [
    {"messages": []},
    {"messages": [{"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}], "prompt": "x"},
    {"messages": [], "dataframe_records": [{"prompt": "a"}]},
    {"input": "x"},
    {"input": ["x"], "prompt": "y"},
    {"prompt": "x", "stream": True},
    {"prompt": "x", "n": 2},
    {"prompt": "x", "params": {"max_tokens": 5}},
    {"prompt": "x", "params": {"max_tokens": 5, "temperature": 1}},
    {"prompt": "x", "params": None},
    {"prompt": "x", "params": "y"},
    {"prompt": "x", "inputs": ["y"]},
    {"prompt": "x", "dataframe_split": {"data": 1}},
    {"prompt": "x", "max_tokens": 5, "params": {"max_tokens": 7}},
    {"prompt": "x", "x": ["a", "b"]},
    {"prompt": "x", "x": ["a", 1]},
    {"prompt": "x", "x": {"a": 1, "b": 2}},
    {"prompt": "x", "x": {}, "y": {"a": 1}},
    {"prompt": "x", "x": [1], "y": [1, 2]},
    {"prompt": "x", "x": [1], "y": {"a": 1}},
    {"prompt": ["boom"]},
    {"prompt": "boom"},
]


def _call(name: str, body: object, model: str = "echo") -> Call:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(f"{model}: {name[:90]}", raw, model)


def tables() -> Iterator[Call]:
    """The four formats with every value in every place."""
    shapes: dict[str, list[Any]] = {
        "dataframe_records": RECORDS,
        "dataframe_split": SPLITS,
        "instances": TENSORS,
        "inputs": TENSORS,
    }
    for name, values in shapes.items():
        for value in [*values, *VALUES]:
            yield _call(f"{name} {json.dumps(value)}", {name: value})
    for value in VALUES:
        shown = json.dumps(value)
        for rows in ([{"prompt": value}], [{"prompt": "a"}, {"prompt": value}]):
            for name in ("dataframe_records", "instances", "inputs"):
                yield _call(f"{name} of {json.dumps(rows)}", {name: rows})
        yield _call(f"a column of {shown}", {"inputs": {"prompt": value}})
        for part in ("data", "columns", "index"):
            split = {"columns": ["prompt"], "data": [["a"]], part: value}
            yield _call(f"split with {part} {shown}", {"dataframe_split": split})
        cell = {"columns": ["prompt"], "data": [["a"], [value]]}
        yield _call(f"a cell of {shown}", {"dataframe_split": cell})


def params() -> Iterator[Call]:
    """Values for every param, in `params` and beside a prompt."""
    records = [{"prompt": "a"}]
    for model, values in (("echo", VALUES[::5]), ("echo_params", VALUES)):
        for value in values:
            shown = json.dumps(value)
            body: dict[str, Any] = {"dataframe_records": records, "params": value}
            yield _call(f"params {shown}", body, model)
            for name in ("max_tokens", "temperature", "stop", "unknown"):
                body = {"dataframe_records": records, "params": {name: value}}
                yield _call(f"param {name} {shown}", body, model)
                yield _call(f"beside {name} {shown}", {"prompt": "a", name: value}, model)
        for body in UNWRAPPED:
            yield _call(f"unwrapped {json.dumps(body)}", body, model)


def texts() -> Iterator[Call]:
    """Every text in every format; the answer must be the same character for character."""
    for text in TEXTS:
        for body in (
            {"dataframe_records": [{"prompt": text}]},
            {"dataframe_split": {"columns": ["prompt"], "data": [[text]]}},
            {"instances": [text]},
            {"inputs": {"prompt": text}},
            {"prompt": text},
        ):
            yield _call(ascii(body), body)
        yield _call(f"stop {text!a}", {"prompt": "a", "stop": [text]}, "echo_params")
