"""The tool calls and results that a chat brings back: as clients keep them, checked."""

from __future__ import annotations

from collections.abc import Sequence

from edge.errors import InvalidRequest
from edge.generation import Message, ToolCall
from edge.protocol.fields import (
    Fields,
    check_depth,
    check_list,
    check_object,
    check_text,
    kind,
    parse_text,
    shown,
    wrong,
)
from edge.protocol.openai_tools import MAX_DEPTH, check_name, check_type


def read(fields: Fields) -> tuple[ToolCall, ...]:
    """The `tool_calls` of an assistant message, none where there are none."""
    value, path = fields.raw("tool_calls"), fields.path("tool_calls")
    items = [] if value is None else check_list(value, path, "a list of tool calls")
    calls: dict[str, ToolCall] = {}
    for index, item in enumerate(items):
        place = f"{path}[{index}]"
        call = _call(item, place)
        if call.id in calls:
            raise wrong(f"{place}.id", shown(call.id), "an id that no call before it has")
        calls[call.id] = call
    return tuple(calls.values())


def read_id(fields: Fields, name: str) -> str:
    """The id of a call."""
    path = fields.path(name)
    text = check_text(fields.required(name, "the id of a tool call"), path)
    if not text:
        raise wrong(path, "an empty string", "the id of a tool call")
    return text


def check_results(messages: Sequence[Message], path: str) -> None:
    """That every call has its result before anybody else speaks, and every result its call."""
    open_calls: dict[str, str] = {}
    for index, message in enumerate(messages):
        place = f"{path}[{index}]"
        if message.role == "tool":
            if open_calls.pop(message.call_id, None) is None:
                place, expected = f"{place}.tool_call_id", "the id of an open call before it"
                raise wrong(place, shown(message.call_id), expected)
            continue
        _check_closed(open_calls)
        open_calls = {
            call.id: f"{place}.tool_calls[{number}]" for number, call in enumerate(message.calls)
        }
    _check_closed(open_calls)


def _check_closed(open_calls: dict[str, str]) -> None:
    for place in open_calls.values():
        message = f"{place} has no result, expected a message of the role tool with its id"
        raise InvalidRequest(message, param=place)


def _call(value: object, path: str) -> ToolCall:
    check_type(check_object(value, path).get("type"), f"{path}.type")
    # Clients that put a stream together keep the index.
    outer = Fields(value, path, known=("id", "type", "function", "index"))
    function = outer.required("function", "an object with name and arguments")
    fields = Fields(function, outer.path("function"), known=("name", "arguments"))
    name = check_name(fields.required("name", "a string"), fields.path("name"))
    return ToolCall(read_id(outer, "id"), name, _arguments(fields))


def _arguments(fields: Fields) -> str:
    path = fields.path("arguments")
    text = check_text(fields.required("arguments", "a JSON object as a string"), path)
    if not text.strip():
        return "{}"
    value = parse_text(text, path)
    if not isinstance(value, dict):
        raise wrong(path, f"{kind(value)} as a string", "a JSON object as a string")
    check_depth(value, path, MAX_DEPTH)
    return text
