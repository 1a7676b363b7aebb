"""The `messages` of a chat request (OpenAI's chat completion, also MLflow's `llm/v1/chat`)."""

from __future__ import annotations

from typing import Literal, cast

from edge.errors import InvalidRequest
from edge.generation import Message, ToolCall
from edge.protocol import openai_calls
from edge.protocol.fields import (
    Fields,
    check_keyword,
    check_list,
    check_object,
    check_text,
    kind,
    wrong,
)
from edge.protocol.openai_refusals import Neutral, refuse

ROLES = ("system", "developer", "user", "assistant", "tool")
PART_SEPARATOR = "\n"

# An assistant message as clients keep it must be accepted when it is sent back.
_NEUTRAL: Neutral = {
    "refusal": (),
    "audio": (),
    "annotations": ([],),
    "function_call": (),
}
_NO_CALLS: Neutral = {"tool_calls": ([],)}
_NO_RESULT: Neutral = {"tool_call_id": ()}
_KNOWN = frozenset({"role", "content", "name", *_NEUTRAL, *_NO_CALLS, *_NO_RESULT})


def read(value: object, path: str = "messages") -> tuple[Message, ...]:
    """Decode a list of messages; `developer` becomes `system`, text parts are joined by newlines.

    Raises `InvalidRequest` for an empty list, an unknown role or member, for content that is not
    text, and for tool calls and results that do not belong together.
    """
    items = check_list(value, path, "a list of messages")
    if not items:
        raise wrong(path, "an empty list", "at least one message")
    messages = tuple(_message(item, f"{path}[{index}]") for index, item in enumerate(items))
    openai_calls.check_results(messages, path)
    return messages


def _message(value: object, path: str) -> Message:
    fields = Fields(value, path, known=_KNOWN)
    role = _role(fields)
    refuse(fields, _NEUTRAL)
    fields.text("name")
    if role != "assistant":
        refuse(fields, _NO_CALLS)
    if role != "tool":
        refuse(fields, _NO_RESULT)
    calls = openai_calls.read(fields) if role == "assistant" else ()
    return Message(
        cast(Literal["system", "user", "assistant", "tool"], role),
        _text_beside(calls, fields),
        calls,
        openai_calls.read_id(fields, "tool_call_id") if role == "tool" else "",
    )


def _role(fields: Fields) -> str:
    fields.required("role", f"one of {', '.join(ROLES)}")
    if fields.raw("role") == "function":
        path = fields.path("role")
        message = f'{path} is "function", which is not supported: results have the role tool'
        raise InvalidRequest(message, param=path)
    role = fields.keyword("role", ROLES)
    return "system" if role == "developer" else str(role)


def _text_beside(calls: tuple[ToolCall, ...], fields: Fields) -> str:
    """The content, which an assistant that calls tools may do without."""
    if calls and fields.raw("content") is None:
        return ""
    return _content(fields.required("content", "text"), fields.path("content"))


def _content(value: object, path: str) -> str:
    if isinstance(value, str):
        return check_text(value, path)
    if not isinstance(value, list):
        raise wrong(path, kind(value), "a string or a list of text parts")
    if not value:
        raise wrong(path, "an empty list", "at least one text part")
    parts = [_part(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return PART_SEPARATOR.join(parts)


def _part(value: object, path: str) -> str:
    # The type goes first: the other members of an image part must not hide what is wrong.
    check_keyword(check_object(value, path).get("type"), f"{path}.type", ("text",))
    fields = Fields(value, path, known=("type", "text"))
    return check_text(fields.required("text", "a string"), fields.path("text"))
