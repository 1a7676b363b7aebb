"""`params` of a scoring request, checked and converted as MLflow's params schema does.

Follows `mlflow.models.utils._enforce_params_schema` 3.18: without a schema all params are
ignored; unknown names are ignored; absent ones take their default; null is allowed for single
values and for members of a list; whole numbers become doubles and nothing else is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.bundle import Param
from edge.errors import InvalidRequest
from edge.protocol.fields import kind, shown


def enforce(params: object, schema: Sequence[Param]) -> dict[str, Any]:
    """A value for every name of `schema`.

    Raises `InvalidRequest` that lists every param of a wrong type.
    """
    if not schema:
        return {}
    given = {} if params is None else params
    if not isinstance(given, dict):
        raise InvalidRequest(f"params is {kind(params)}, expected an object", param="params")
    problems: list[str] = []
    values = {}
    for param in schema:
        try:
            values[param.name] = _value(given, param)
        except ValueError as problem:
            problems.append(f"{param.name} is {problem}")
    if problems:
        first = problems[0].split(" ", 1)[0]
        raise InvalidRequest(f"Invalid parameters found: {'; '.join(problems)}", param=first)
    return values


def split(
    body: Mapping[str, Any], schema: Sequence[Param]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An unwrapped body as (data, params): the names that `schema` declares are params."""
    names = {param.name for param in schema}
    data = {name: value for name, value in body.items() if name not in names}
    return data, {name: value for name, value in body.items() if name in names}


def _value(given: Mapping[str, Any], param: Param) -> Any:
    if param.name not in given:
        return list(param.default) if param.is_list and param.default else param.default
    value = given[param.name]
    if not param.is_list:
        return _scalar(value, param.type)
    if not isinstance(value, list):
        raise ValueError(f"{_found(value)}, expected a list of {_plural(param.type)}")
    return [_scalar(item, param.type) for item in value]


def _scalar(value: object, type_name: str) -> Any:
    if value is None:
        return None
    if type_name not in _CONVERTERS:
        return value
    try:
        return _CONVERTERS[type_name](value)
    except (TypeError, OverflowError):
        raise ValueError(f"{_found(value)}, expected {_NOUNS[type_name][0]}") from None


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


_CONVERTERS: Mapping[str, Callable[[object], Any]] = {
    "long": _whole,
    "integer": _whole,
    "double": _real,
    "float": _real,
    "string": _text,
    "boolean": _truth,
}
_NOUNS = {
    "long": ("a whole number", "whole numbers"),
    "integer": ("a whole number", "whole numbers"),
    "double": ("a number", "numbers"),
    "float": ("a number", "numbers"),
    "string": ("a string", "strings"),
    "boolean": ("true or false", "booleans"),
}


def _plural(type_name: str) -> str:
    return _NOUNS.get(type_name, ("", "values"))[1]


def _found(value: object) -> str:
    return kind(value) if isinstance(value, str) else shown(value)
