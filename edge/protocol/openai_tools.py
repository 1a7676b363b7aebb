"""The `tools` of a chat request, and how they may be called: `tool_choice`, `parallel_tool_calls`.

Names and limits are those of OpenAI's function calling. Every schema is kept to by constrained
decoding, so that `strict` may be true or false.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from edge.errors import InvalidRequest
from edge.generation import Tool, ToolUse
from edge.protocol import openai_guidance
from edge.protocol.fields import (
    Fields,
    check_depth,
    check_keyword,
    check_list,
    check_object,
    check_text,
    kind,
    shown,
    wrong,
)

KNOWN = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
MAX_TOOLS = 128
MAX_DEPTH = 100
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHOICE = '"none", "auto", "required", a function or allowed_tools'


def read(fields: Fields) -> tuple[tuple[Tool, ...], ToolUse | None]:
    """The tools to tell the model of, and their use; neither where nothing may be called.

    Raises `InvalidRequest`.
    """
    tools = _tools(fields)
    is_parallel = fields.boolean("parallel_tool_calls") is not False
    use = _use(fields, tools)
    if not use.tools:
        return (), None
    return tools, replace(use, is_parallel=use.is_parallel and is_parallel)


def check_name(value: object, path: str) -> str:
    """A function's name."""
    name = check_text(value, path)
    if not NAME.fullmatch(name):
        raise wrong(path, shown(name), "1 to 64 letters, digits, underscores and hyphens")
    return name


def check_type(value: object, path: str) -> None:
    """That a tool, a call or a choice is of a function: nothing else is called here."""
    if value == "custom":
        message = f'{path} is "custom": only functions are supported, whose arguments are JSON'
        raise InvalidRequest(message, param=path)
    check_keyword(value, path, ("function",))


def _tools(fields: Fields) -> tuple[Tool, ...]:
    value, path = fields.raw("tools"), fields.path("tools")
    items = [] if value is None else check_list(value, path, "a list of tools")
    if len(items) > MAX_TOOLS:
        raise wrong(path, kind(items), f"at most {MAX_TOOLS} tools")
    tools: dict[str, Tool] = {}
    for index, item in enumerate(items):
        place = f"{path}[{index}]"
        tool = _tool(item, place)
        if tool.name in tools:
            place = f"{place}.function.name"
            raise wrong(place, shown(tool.name), "a name that no tool before it has")
        tools[tool.name] = tool
    return tuple(tools.values())


def _tool(value: object, path: str) -> Tool:
    # The type goes first: the members of another kind of tool must not hide what is wrong.
    check_type(check_object(value, path).get("type"), f"{path}.type")
    outer = Fields(value, path, known=("type", "function"))
    function = outer.required("function", "an object with a name")
    known = ("name", "description", "parameters", "strict")
    fields = Fields(function, outer.path("function"), known=known)
    fields.boolean("strict")
    name = check_name(fields.required("name", "a string"), fields.path("name"))
    description = fields.text("description") or ""
    if fields.raw("parameters") is None:
        return Tool(name, description)
    return Tool(name, description, _parameters(fields))


def _parameters(fields: Fields) -> str:
    path = fields.path("parameters")
    schema = check_object(fields.raw("parameters"), path)
    if schema.get("type", "object") != "object":
        raise wrong(f"{path}.type", shown(schema["type"]), '"object"')
    check_depth(schema, path, MAX_DEPTH)
    return openai_guidance.schema_text(schema, path)


def _use(fields: Fields, tools: tuple[Tool, ...]) -> ToolUse:
    """What `tool_choice` says; a function that is named is called once."""
    value, path = fields.raw("tool_choice"), fields.path("tool_choice")
    if value is None or value in ("none", "auto"):
        return ToolUse(() if value == "none" else tools)
    if not tools:
        raise InvalidRequest(f"{path} needs tools, and there are none", param=path)
    if value == "required":
        return ToolUse(tools, is_required=True)
    if not isinstance(value, dict):
        raise wrong(path, shown(value), _CHOICE)
    if value.get("type") == "allowed_tools":
        return _allowed(value, path, tools)
    return ToolUse((_named(value, path, tools),), is_required=True, is_parallel=False)


def _allowed(value: object, path: str, tools: tuple[Tool, ...]) -> ToolUse:
    outer = Fields(value, path, known=("type", "allowed_tools"))
    body = outer.required("allowed_tools", "an object with mode and tools")
    fields = Fields(body, outer.path("allowed_tools"), known=("mode", "tools"))
    fields.required("mode", '"auto" or "required"')
    mode = fields.keyword("mode", ("auto", "required"))
    place = fields.path("tools")
    items = check_list(fields.required("tools", "a list of functions"), place)
    if not items:
        raise wrong(place, "an empty list", "at least one function")
    named = {_named(item, f"{place}[{i}]", tools) for i, item in enumerate(items)}
    return ToolUse(tuple(tool for tool in tools if tool in named), mode == "required")


def _named(value: object, path: str, tools: tuple[Tool, ...]) -> Tool:
    body: dict[str, Any] = check_object(value, path)
    check_type(body.get("type"), f"{path}.type")
    outer = Fields(value, path, known=("type", "function"))
    function = outer.required("function", "an object with a name")
    fields = Fields(function, outer.path("function"), known=("name",))
    place = fields.path("name")
    name = check_text(fields.required("name", "the name of a tool"), place)
    found = next((tool for tool in tools if tool.name == name), None)
    if found is None:
        raise wrong(place, shown(name), "the name of one of the tools")
    return found
