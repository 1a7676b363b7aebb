"""From the text of an environment variable to the value of a setting.

Each parser raises `ValueError` that says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Parse = Callable[[str], Any]


def integer(low: int, high: int) -> Parse:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
        if value is None or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def auto(parse: Parse) -> Parse:
    def parse_or_auto(text: str) -> Any:
        if text == "auto":
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"`auto` or {error}") from None

    return parse_or_auto


def seconds(low: float, high: float) -> Parse:
    def parse(text: str) -> float:
        expected = f"a number of seconds from {low:g} to {high:g}"
        try:
            value = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return parse


def choice(*values: str) -> Parse:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError("one of " + ", ".join(values))
        return text

    return parse


def switch(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("1 or 0")
    return text.lower() in ("1", "true")


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,18})(?:([kmg])i?)?b?", text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise ValueError("a size such as 512MiB or 2G")
    return int(found[1]) * _UNITS[found[2] or ""]


def names(*allowed: str) -> Parse:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if any(name not in allowed for name in names):
            raise ValueError("a comma-separated list of: " + ", ".join(allowed))
        return names

    return parse


def filled(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not empty")
    return text
