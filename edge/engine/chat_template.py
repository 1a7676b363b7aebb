"""Chats as text: the model's own template, and tools in the way that the template knows.

What a template can do is found out by rendering small chats with it, once, at the first request
that needs to know. A template that knows no tools, or that writes calls in a notation unknown
here, is helped out: a system text lists the tools, calls are text of the assistant and results
are turns of the user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from edge.engine import tool_format
from edge.engine.tool_format import ToolFormat
from edge.generation import Message, Tool, ToolCall

Turn = dict[str, Any]
# Turns and, where the template takes them, tools as JSON; raises RuntimeError where it refuses.
Render = Callable[[list[Turn], str | None], str]

_SCHEMA = '{"type": "object", "properties": {"p": {"type": "integer", "description": "q"}}}'
_TOOL = Tool("probe_tool", "A probe.", _SCHEMA)
_CALL = ToolCall("1", "probe_call", '{"p": 1}')
_RESULT = "probe result"
# The runtime reads JSON in a message and writes it back with quotes of both kinds: this stands for
# the tools until the text is there.
_STAND_IN = "[7182818284590452]"
_USER: Turn = {"role": "user", "content": "probe user"}
_SYSTEM: Turn = {"role": "system", "content": "probe system"}


class ChatTemplate:
    """One chat template and the notation of its model's tool calls. Safe for many threads."""

    def __init__(self, render: Render, source: str, added: Collection[str]) -> None:
        """`render` applies the template; `source` is its text, `added` the added tokens' texts."""
        self._render = render
        self._detected = tool_format.detect(source, added)

    @cached_property
    def form(self) -> ToolFormat:
        """How the model is expected to write its calls."""
        form = self._detected or tool_format.DEFAULT
        if not self._is_native:
            return form if not self._offers else tool_format.DEFAULT
        calls = (_CALL, replace(_CALL, id="2"))
        takes_two = not self._shows_calls or self._try(
            self._turns(_chat(*calls)), _listing((_TOOL,))
        )
        return form if takes_two else replace(form, joint="")

    def apply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of a chat up to where the assistant speaks; RuntimeError where refused."""
        turns = self._turns(messages)
        if not tools:
            return self._render(turns, None)
        if not self._is_native:
            return self._render(self._instructed(turns, _instructions(self.form, tools)), None)
        if self._offers == "parameter":
            return self._render(turns, _listing(tools))
        if turns[0]["role"] != "system":
            turns = [{"role": "system", "content": ""}, *turns]
        rendered = self._render([{**turns[0], "tools": _STAND_IN}, *turns[1:]], None)
        return rendered.replace(_STAND_IN, _functions(tools), 1)

    @cached_property
    def _offers(self) -> str:
        """How the template takes tools: by `parameter`, in the system `message`, "" for not."""
        if _TOOL.name in self._try([_USER], _listing((_TOOL,))):
            return "parameter"
        asked = self._try([{**_SYSTEM, "tools": _STAND_IN}, _USER])
        return "message" if _STAND_IN in asked else ""

    @cached_property
    def _is_native(self) -> bool:
        """Whether the template tells the model of tools, in a notation that is known here."""
        form = self._detected
        if not self._offers or form is None:
            return False
        written = f"{form.before_name}{_CALL.name}{form.before_arguments}{_CALL.arguments}"
        return not self._shows_calls or written in self._probed

    @cached_property
    def _probed(self) -> str:
        call = _native_call(_CALL, "call00000")
        called = {"role": "assistant", "content": "", "tool_calls": [call]}
        return self._try([_USER, called, _result(_RESULT, "call00000", _CALL.name)])

    @property
    def _shows_calls(self) -> bool:
        return bool(self._offers) and _CALL.name in self._probed

    @property
    def _shows_results(self) -> bool:
        return bool(self._offers) and _RESULT in self._probed

    @cached_property
    def _takes_system(self) -> bool:
        return _SYSTEM["content"] in self._try([_SYSTEM, _USER])

    def _try(self, turns: list[Turn], tools: str | None = None) -> str:
        try:
            return self._render(turns, tools)
        except RuntimeError:
            return ""

    def _turns(self, messages: Sequence[Message]) -> list[Turn]:
        if not any(message.calls or message.role == "tool" for message in messages):
            return [_turn(message) for message in messages]
        # Short ids in the order of the calls: some templates insist on nine letters, and a chat
        # that comes back has the same text as before.
        calls = [call for message in messages for call in message.calls]
        ids = {call.id: f"call{place:05}" for place, call in enumerate(calls)}
        names = {call.id: call.name for call in calls}
        turns = [self._with_calls(message, ids, names) for message in messages]
        return turns if self._is_native and self._shows_results else _joined(turns)

    def _with_calls(self, message: Message, ids: dict[str, str], names: dict[str, str]) -> Turn:
        if message.role == "tool":
            if self._is_native and self._shows_results:
                place, name = ids.get(message.call_id, ""), names.get(message.call_id, "")
                return _result(message.content, place, name)
            return {"role": "user", "content": _wrapped(message.content)}
        if not message.calls:
            return _turn(message)
        if self._is_native and self._shows_calls:
            calls = [_native_call(call, ids[call.id]) for call in message.calls]
            return {**_turn(message), "tool_calls": calls}
        written = self.form.text(message.calls)
        content = f"{message.content}\n{written}" if message.content else written
        return {"role": "assistant", "content": content}

    def _instructed(self, turns: list[Turn], text: str) -> list[Turn]:
        first = turns[0]
        if first["role"] == "system" or (first["role"] == "user" and not self._takes_system):
            return [{**first, "content": f"{first['content']}\n\n{text}".strip()}, *turns[1:]]
        return [{"role": "system", "content": text}, *turns]


def _chat(*calls: ToolCall) -> list[Message]:
    results = [Message("tool", _RESULT, call_id=call.id) for call in calls]
    return [Message("user", _USER["content"]), Message("assistant", "", calls), *results]


def _turn(message: Message) -> Turn:
    return {"role": message.role, "content": message.content}


def _native_call(call: ToolCall, place: str) -> Turn:
    function = {"name": call.name, "arguments": json.loads(call.arguments)}
    return {"id": place, "type": "function", "function": function}


def _result(content: str, place: str, name: str) -> Turn:
    return {"role": "tool", "content": content, "tool_call_id": place, "name": name}


def _wrapped(result: str) -> str:
    return f"<tool_response>\n{result}\n</tool_response>"


def _joined(turns: list[Turn]) -> list[Turn]:
    """The same turns with neighbours of the user's made one: many templates want them to take
    turns with the assistant's."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1]["role"] == turn["role"] == "user":
            joined[-1] = {**turn, "content": f"{joined[-1]['content']}\n{turn['content']}"}
        else:
            joined.append(turn)
    return joined


def _described(tool: Tool) -> dict[str, Any]:
    parameters = json.loads(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def _functions(tools: Sequence[Tool]) -> str:
    return json.dumps([_described(tool) for tool in tools], ensure_ascii=False)


def _listing(tools: Sequence[Tool]) -> str:
    return json.dumps([{"type": "function", "function": _described(tool)} for tool in tools])


def _instructions(form: ToolFormat, tools: Sequence[Tool]) -> str:
    example = form.text([ToolCall("", "NAME", '{"PARAMETER": "VALUE"}')])
    listed = "\n".join(json.dumps(_described(tool), ensure_ascii=False) for tool in tools)
    return (
        "You can call these functions. Each line describes one as JSON:\n"
        f"{listed}\n"
        "To call a function, answer with nothing but its name and arguments in this form:\n"
        f"{example}\n"
        "Its result then comes between <tool_response> and </tool_response>. "
        "Where no function helps, answer in words."
    )
