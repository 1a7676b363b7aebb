"""What an answer with tools may be, as a Lark grammar of llguidance.

The dialect is that of llguidance's own `docs/syntax.md`: `%json` takes a schema, `<[7]>` is the
token 7 and nothing else, and a `lazy` rule ends as soon as it can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.engine.tool_format import ToolFormat
from edge.errors import InvalidRequest
from edge.generation import Guidance, Tool, ToolUse

# Written as models saw it in training: one line, with a space behind commas and colons. It also
# makes every part of the grammar read alike, without which llguidance would choose one of them at
# the first brace.
_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# With one of these the properties that a schema names need not be all there are.
_OPEN = ("$ref", "allOf", "anyOf", "oneOf", "patternProperties", "additionalProperties", "if")
# A model that was not trained for tools may not know when to end.
MOST_CALLS = 16
_TEXT = r"TEXT: /(.|\n)*/"
_TEXT_BUT_AN_OBJECT = r"TEXT: /([^{](.|\n)*)?/"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that a tokenizer adds to its vocabulary, by their text."""

    ids: Mapping[str, int]
    visible: frozenset[int]

    @classmethod
    def of(cls, added: Iterable[Mapping[str, Any]]) -> Vocabulary:
        """From the `added_tokens` of a `tokenizer.json`; those not special are visible text."""
        tokens = list(added)
        return cls(
            {str(token["content"]): int(token["id"]) for token in tokens},
            frozenset(int(token["id"]) for token in tokens if not token.get("special")),
        )

    def literal(self, text: str) -> str:
        """`text` as Lark: its added tokens by number, the rest as strings; "" for none."""
        names = sorted(self.ids, key=len, reverse=True)
        pattern = "|".join(map(re.escape, names))
        pieces = re.split(f"({pattern})", text) if pattern else [text]
        return " ".join(self._piece(piece) for piece in pieces if piece)

    def _piece(self, text: str) -> str:
        return f"<[{self.ids[text]}]>" if text in self.ids else _string(text)


def lark(form: ToolFormat, use: ToolUse, text: Guidance | None, vocabulary: Vocabulary) -> str:
    """The grammar of an answer in the notation `form`.

    An answer that need not call is free text, or what `text` (JSON of either kind) allows. Raises
    `InvalidRequest` where the notation cannot be told from such JSON.
    """
    if use.is_required:
        start = [f"start: {vocabulary.literal(form.begin)} calls"]
    elif text is not None:
        start = _bound(form, text, vocabulary)
    elif form.is_leading:
        start = ["start: TEXT | calls", _TEXT_BUT_AN_OBJECT]
    else:
        start = _free(form, vocabulary)
    calls = [
        f"{vocabulary.literal(form.before_name + tool.name + form.before_arguments)} "
        f"%json {_schema(tool)} {vocabulary.literal(form.after)}"
        for tool in use.tools
    ]
    rules = [f"call_{place}: {call}" for place, call in enumerate(calls)]
    choice = " | ".join(f"call_{place}" for place in range(len(calls)))
    return "\n".join([*start, _sequence(form, use, vocabulary), f"call: {choice}", *rules])


def _sequence(form: ToolFormat, use: ToolUse, vocabulary: Vocabulary) -> str:
    # Some models put a space behind their marker.
    space = '" "?' if form.begin and not form.opening.startswith("\n") else ""
    most = MOST_CALLS if form.joint and use.is_parallel else 1
    more = f"({vocabulary.literal(form.joint)} call){{0,{most - 1}}}" if most > 1 else ""
    opening, closing = vocabulary.literal(form.opening), vocabulary.literal(form.closing)
    return f"calls: {space} {opening} call {more} {closing}"


def _free(form: ToolFormat, vocabulary: Vocabulary) -> list[str]:
    """Text up to a marker, be it one token or spelt out; without a marker to the end."""
    token = vocabulary.ids.get(form.begin)
    known = {vocabulary.ids.get(part) for part in form.parts}
    visible = sorted(vocabulary.visible - known)
    shown = f"(TEXT <[{','.join(map(str, visible))}]>)*" if visible else ""
    said = f"TEXT <[{token}]> | spelt" if token is not None else "spelt"
    return [
        f"start: {shown} TEXT | {shown} said calls",
        f"said: {said}",
        f"spelt[lazy]: TEXT {_string(form.begin)}",
        _TEXT,
    ]


def _bound(form: ToolFormat, text: Guidance, vocabulary: Vocabulary) -> list[str]:
    if form.is_leading:
        raise InvalidRequest(
            "this model's tool calls cannot be told from other JSON: response_format needs "
            "tool_choice to be none or required",
            param="response_format",
        )
    schema = json.loads(text.source) if text.kind == "json_schema" else {"type": "object"}
    bound = json.dumps({**schema, "x-guidance": _ONE_LINE}, ensure_ascii=False)
    return [f"start: %json {bound} | {vocabulary.literal(form.begin)} calls"]


def _schema(tool: Tool) -> str:
    """The tool's schema, closed where it says nothing of further properties: a model that may
    invent some does."""
    schema = {"type": "object", **json.loads(tool.parameters), "x-guidance": _ONE_LINE}
    if "properties" in schema and not any(key in schema for key in _OPEN):
        schema["additionalProperties"] = False
    return json.dumps(schema, ensure_ascii=False)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def named(message: str, source: str, use: ToolUse) -> str:
    """The library's `message` about the grammar `source`, with the tool that it is about."""
    place = re.search(r"at (\d+)\(\d+\): ", message)
    lines = source.splitlines()
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    rule = re.match(r"call_(\d+):", line)
    if place is None or rule is None:
        return message
    name = use.tools[int(rule[1])].name
    return f"the parameters of the tool {name} cannot be followed: {message[place.end() :]}"
