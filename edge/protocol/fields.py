"""Checked reading of JSON: every value is taken by a function that knows what it must be.

A failed check raises `InvalidRequest` with the path of the field (`messages[0].role`), the value
and what was expected. Values are shortened, and strings are shown only where a keyword or a
number was expected, so that no prompt text ends in an error. `null` means absent everywhere.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from edge.errors import InvalidRequest, MalformedBody

SHOWN_CHARACTERS = 40
SAFE_INTEGER_BITS = 128


def parse(raw: bytes) -> Any:
    """Decode a JSON body in UTF-8; NaN and Infinity, which JSON lacks, are refused.

    Raises `MalformedBody` that names the place of a fault and none of the text.
    """
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        message = "the body is nested too deeply"
    except ValueError:
        message = "the body holds a number of more digits than a number may have"
    raise MalformedBody(message)


def parse_text(text: str, path: str) -> Any:
    """Decode JSON that stands in a string of the body; raises `InvalidRequest`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError, MalformedBody):
        raise wrong(path, "a string that is no JSON", "JSON") from None


class Fields:
    """One JSON object whose members are taken by name."""

    def __init__(
        self,
        data: object,
        path: str = "",
        *,
        known: Collection[str],
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        """Check that `data` is an object and has no members beside `known`.

        `elsewhere` maps names that belong to another place to a sentence that says so. Raises
        `InvalidRequest` that names the first unknown member and the nearest known one.
        """
        self._data = check_object(data, path or "the body")
        self._path = path
        for name, value in self._data.items():
            if name not in known and value is not None:
                raise self._unknown(name, known, elsewhere or {})

    def path(self, name: str) -> str:
        """The path of member `name` from the top of the body."""
        return f"{self._path}.{name}" if self._path else name

    def raw(self, name: str) -> Any:
        """The unchecked value, None where it is absent or null."""
        return self._data.get(name)

    def required(self, name: str, expected: str) -> Any:
        """The unchecked value; raises `InvalidRequest` where it is absent or null."""
        value = self.raw(name)
        if value is None:
            path = self.path(name)
            raise InvalidRequest(f"{path} is missing, expected {expected}", param=path)
        return value

    def boolean(self, name: str) -> bool | None:
        """`true` or `false`."""
        value = self.raw(name)
        return None if value is None else check_boolean(value, self.path(name))

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`, both included."""
        value = self.raw(name)
        return None if value is None else check_integer(value, self.path(name), low, high)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A finite number from `low` to `high`, both included."""
        value = self.raw(name)
        return None if value is None else check_number(value, self.path(name), low, high)

    def text(self, name: str) -> str | None:
        """A string of whole characters."""
        value = self.raw(name)
        return None if value is None else check_text(value, self.path(name))

    def keyword(self, name: str, options: Collection[str]) -> str | None:
        """One of `options`."""
        value = self.raw(name)
        return None if value is None else check_keyword(value, self.path(name), options)

    def _unknown(
        self, name: str, known: Collection[str], elsewhere: Mapping[str, str]
    ) -> InvalidRequest:
        plain = name.isidentifier() and name.isascii() and len(name) <= SHOWN_CHARACTERS
        path = self.path(name if plain else shown(name))
        near = difflib.get_close_matches(name[:SHOWN_CHARACTERS], sorted(known), n=1)
        if name in elsewhere:
            hint = f"; {elsewhere[name]}"
        else:
            hint = f"; did you mean {near[0]}?" if near else ""
        return InvalidRequest(f"{path} is not a parameter known here{hint}", param=path)


def check_depth(value: object, path: str, most: int) -> None:
    """That objects and lists stand at most `most` deep in one another."""
    level, depth = [value], 0
    while level:
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [item for items in inner if isinstance(items, list) for item in items]
        depth += bool(level)
        if depth > most:
            raise wrong(path, f"nested more than {most} deep", "less")


def check_object(value: object, path: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise wrong(path, kind(value), "an object")
    return value


def check_list(value: object, path: str, expected: str = "a list") -> list[Any]:
    """A JSON array."""
    if not isinstance(value, list):
        raise wrong(path, kind(value), expected)
    return value


def check_boolean(value: object, path: str) -> bool:
    """`true` or `false`, and neither 0 nor 1."""
    if not isinstance(value, bool):
        raise wrong(path, shown(value), "true or false")
    return value


def check_integer(value: object, path: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`; `3.0` is one, `true` is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(path, shown(value), f"a whole number from {low} to {high}")
    return value


def check_number(value: object, path: str, low: float, high: float) -> float:
    """A finite number from `low` to `high`; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(path, shown(value), f"a number from {low:g} to {high:g}")
    return float(value)


def check_text(value: object, path: str) -> str:
    """A string that UTF-8 can hold: JSON can spell lone surrogates, text has none."""
    if not isinstance(value, str):
        raise wrong(path, kind(value), "a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = f"a string with the lone surrogate U+{ord(value[error.start]):04X}"
        where = f"at character {error.start}"
        raise wrong(path, f"{found} {where}", "text that UTF-8 can hold") from None
    return value


def check_keyword(value: object, path: str, options: Collection[str]) -> str:
    """One of `options`."""
    if not isinstance(value, str) or value not in options:
        raise wrong(path, shown(value), _alternatives(options))
    return value


def wrong(path: str, found: str, expected: str) -> InvalidRequest:
    """The error for a value that is not what it must be."""
    return InvalidRequest(f"{path} is {found}, expected {expected}", param=path)


def shown(value: object) -> str:
    """A value as it may stand in an error: scalars as JSON, shortened; containers by kind."""
    if isinstance(value, str):
        text = ascii(value[: SHOWN_CHARACTERS + 1])[1:-1]
        return f'"{text[:SHOWN_CHARACTERS]}{"..." if len(text) > SHOWN_CHARACTERS else ""}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        bits = value.bit_length()
        return str(value) if bits <= SAFE_INTEGER_BITS else f"a whole number of {bits} bits"
    if isinstance(value, float):
        return f"{value!r}" if math.isfinite(value) else "not a finite number"
    return kind(value)


def kind(value: object) -> str:
    """What a value is, without showing it: `a string`, `a list of 3`, `null`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, dict) else shown(value)


def _no_constant(name: str) -> None:
    raise MalformedBody(f"the body holds {name}, which is not JSON")


def _alternatives(options: Collection[str]) -> str:
    names = [f'"{option}"' for option in options]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
