"""The `prompt` of a completion request: text, token ids, or a list of either."""

from __future__ import annotations

from edge.generation import Prompt
from edge.protocol.fields import check_integer, check_list, check_text, kind, wrong
from edge.protocol.openai_sampling import MAX_TOKEN_ID

MAX_PROMPTS = 2048
EXPECTED = "a string, a list of strings, a list of token ids or a list of such lists"


def read(value: object, path: str = "prompt") -> tuple[Prompt, ...]:
    """Decode `prompt`; the kind of the first item decides what all of them must be.

    Raises `InvalidRequest` for anything else. An empty string is a prompt: what the model says
    to nothing.
    """
    if isinstance(value, str):
        return (_text(value, path),)
    items = check_list(value, path, EXPECTED)
    if not items:
        raise wrong(path, "an empty list", EXPECTED)
    if isinstance(items[0], str):
        _check_count(items, path)
        return tuple(_text(item, f"{path}[{index}]") for index, item in enumerate(items))
    if isinstance(items[0], list):
        _check_count(items, path)
        return tuple(_ids(item, f"{path}[{index}]") for index, item in enumerate(items))
    return (_ids(items, path),)


def _check_count(items: list[object], path: str) -> None:
    if len(items) > MAX_PROMPTS:
        raise wrong(path, kind(items), f"at most {MAX_PROMPTS} prompts")


def _text(value: object, path: str) -> Prompt:
    return Prompt(text=check_text(value, path))


def _ids(value: object, path: str) -> Prompt:
    items = check_list(value, path, "a list of token ids")
    if not items:
        raise wrong(path, "an empty list", "at least one token id")
    ids = (
        check_integer(item, f"{path}[{index}]", 0, MAX_TOKEN_ID) for index, item in enumerate(items)
    )
    return Prompt(ids=tuple(ids))
