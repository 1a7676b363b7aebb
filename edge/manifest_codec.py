"""Typed decoding of JSON into frozen dataclasses, with every problem reported."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Problems = list[str]
T = TypeVar("T")


def decode(kind: type[T], data: object, where: str, problems: Problems) -> T | None:
    """Build the dataclass `kind` from the JSON value `data`.

    Appends one line a problem to `problems`, each naming the field; returns None where there
    was any. Unknown keys are problems too: a manifest is written by the same release family.
    """
    before = len(problems)
    value = _value(kind, data, where, problems)
    return value if len(problems) == before else None


def _value(kind: Any, data: object, where: str, problems: Problems) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind, data, where, problems)
    if kind is Any:
        return data
    if origin is Literal:
        return _check(data in args, data, where, f"one of {', '.join(map(repr, args))}", problems)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in args if arg is not type(None)]
        return None if data is None else _value(inner[0], data, where, problems)
    if origin is tuple:
        return _items(args[0], data, where, problems)
    if origin is Mapping:
        return _mapping(args[1], data, where, problems)
    return _scalar(kind, data, where, problems)


def _record(kind: Any, data: object, where: str, problems: Problems) -> Any:
    if not isinstance(data, dict):
        return _check(False, data, where, "an object", problems)
    hints = get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    problems += [f"{where}.{key} is unknown" for key in data if key not in fields]
    values = {}
    for name, item in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{where}.{name}", problems)
        elif _required(item):
            problems.append(f"{where}.{name} is missing")
    missing = [name for name, item in fields.items() if _required(item) and name not in values]
    return None if missing else kind(**values)


def _required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _items(kind: Any, data: object, where: str, problems: Problems) -> Any:
    if not isinstance(data, list):
        return _check(False, data, where, "a list", problems)
    return tuple(_value(kind, item, f"{where}[{i}]", problems) for i, item in enumerate(data))


def _mapping(kind: Any, data: object, where: str, problems: Problems) -> Any:
    if not isinstance(data, dict):
        return _check(False, data, where, "an object", problems)
    return {key: _value(kind, item, f"{where}.{key}", problems) for key, item in data.items()}


def _scalar(kind: type, data: object, where: str, problems: Problems) -> Any:
    if kind is float and type(data) is int:
        return float(data)
    return _check(type(data) is kind, data, where, f"a {kind.__name__}", problems)


def _check(good: bool, data: object, where: str, expected: str, problems: Problems) -> Any:
    if not good:
        problems.append(f"{where} is {data!r:.80}, expected {expected}")
    return data
