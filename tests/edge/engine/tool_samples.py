"""Tools, calls of them, and models that have the markers of each notation."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge.engine import tool_format
from edge.generation import Tool, ToolCall, ToolUse
from tests.edge.engine import templates

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "days": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["city"],
}
ORDER_SCHEMA = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "maxItems": 2},
        "paid": {"type": "boolean"},
    },
    "required": ["items", "paid"],
    "additionalProperties": False,
    "$defs": {"item": {"enum": ["tea", 'a "mug"', "{bowl}"]}},
}
WEATHER = Tool("get_weather", "The weather.", json.dumps(WEATHER_SCHEMA))
# Its name begins with that of the other.
ORDER = Tool("get_weather_order-2", "", json.dumps(ORDER_SCHEMA))
NOTHING = Tool("now")
TOOLS = (WEATHER, ORDER, NOTHING)
ANY = ToolUse(TOOLS)
REQUIRED = ToolUse(TOOLS, is_required=True)

# Name: markers among the tokens (True: special, not decoded), chat template, notation.
NOTATIONS = {
    "spelt": ({}, templates.PLAIN, tool_format.TAGGED),
    "tagged": (
        {"<tool_call>": False, "</tool_call>": False, "<think>": False, "<|im_start|>": True},
        templates.TAGGED,
        tool_format.TAGGED,
    ),
    "enclosed": (
        {"<|tool_call|>": True, "<|/tool_call|>": True},
        templates.IN_MESSAGE,
        tool_format.ENCLOSED_LIST,
    ),
    "marked": ({"<|tool_call|>": True}, templates.PLAIN, tool_format.MARKED_LIST),
    "bracketed": ({"[TOOL_CALLS]": True}, templates.BRACKETED, tool_format.BRACKETED_LIST),
    "named": (
        {"[TOOL_CALLS]": True, "[ARGS]": True},
        templates.PLAIN,
        tool_format.BRACKETED_NAME,
    ),
    "bare": ({}, templates.BARE, tool_format.BARE),
}

_LETTERS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def _call(tool: Tool, arguments: dict[str, object]) -> ToolCall:
    # Constrained JSON has its members in the order of the schema's.
    order = json.loads(tool.parameters)["properties"]
    ordered = {name: arguments[name] for name in order if name in arguments}
    return ToolCall("", tool.name, json.dumps(ordered, ensure_ascii=False))


_WEATHER_CALLS = st.fixed_dictionaries(
    {"city": _LETTERS}, optional={"days": st.integers(0, 9)}
).map(lambda arguments: _call(WEATHER, arguments))
_ORDER_CALLS = st.fixed_dictionaries(
    {
        "items": st.lists(st.sampled_from(ORDER_SCHEMA["$defs"]["item"]["enum"]), max_size=2),
        "paid": st.booleans(),
    }
).map(lambda arguments: _call(ORDER, arguments))
CALLS = st.one_of(_WEATHER_CALLS, _ORDER_CALLS, st.just(ToolCall("", NOTHING.name, "{}")))

_VALIDATORS = {tool.name: Draft202012Validator(json.loads(tool.parameters)) for tool in TOOLS}


def is_valid(call: ToolCall) -> bool:
    """Whether the arguments of a call follow the schema of its tool."""
    return _VALIDATORS[call.name].is_valid(json.loads(call.arguments))
