"""MLflow's scoring protocol: the bytes of `POST /invocations` as an `Invocation`.

    application/json   {"dataframe_split" | "dataframe_records" | "instances" | "inputs": ...,
                        "params": {...}}            answered with {"predictions": [...]}
                       {"prompt" | "messages" | "input": ..., ...}   answered with [...]
    text/csv           a header and rows            answered with {"predictions": [...]}

Follows `mlflow.pyfunc.scoring_server` 3.18; where it does not, docs/api.md says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.bundle import Param, Signature
from edge.errors import MalformedBody
from edge.generation import Message
from edge.protocol import openai_messages, scoring_csv, scoring_frame, scoring_media, scoring_params
from edge.protocol.fields import kind
from edge.protocol.scoring_frame import Cells
from edge.protocol.scoring_split import from_split

# The release whose protocol this is: what `GET /version` answers.
MLFLOW_VERSION = "3.18.0"

UNWRAPPED_KEYS = ("messages", "prompt", "input")
_FORMATS = {
    "dataframe_records": scoring_frame.from_records,
    "dataframe_split": from_split,
    "inputs": scoring_frame.from_inputs,
    "instances": scoring_frame.from_instances,
}
# The options of `llm/v1/chat`, which are columns beside `messages` (`mlflow.types.llm.ChatParams`).
CHAT_OPTIONS = (
    Param("temperature", "double"),
    Param("max_tokens", "long"),
    Param("stop", "string", is_list=True),
    Param("n", "long"),
    Param("stream", "boolean"),
    Param("top_p", "double"),
    Param("top_k", "long"),
    Param("frequency_penalty", "double"),
    Param("presence_penalty", "double"),
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was asked: a row is a prompt, or for chat models a conversation.

    `params` has a value for every name of the signature's params schema. `is_wrapped` says that
    the answer goes into `{"predictions": ...}`; `wants_stream` that an unwrapped body has
    `"stream": true`.
    """

    rows: tuple[str | tuple[Message, ...], ...]
    params: Mapping[str, Any]
    is_wrapped: bool
    wants_stream: bool = False


def parse(body: bytes, content_type: str | None, signature: Signature) -> Invocation:
    """Read a request for a model with `signature`.

    Raises `UnsupportedMedia`, `MalformedBody` (MLflow's BAD_REQUEST) or `InvalidRequest`
    (MLflow's INVALID_PARAMETER_VALUE).
    """
    column = _column(signature)
    if scoring_media.read(content_type) == "csv":
        cells = scoring_csv.read(body, column)
        rows = _rows(cells, column, signature)
        return Invocation(rows, scoring_params.enforce(None, signature.params), True)
    data = _decode(body)
    if any(key in data for key in UNWRAPPED_KEYS):
        return _unwrapped(data, column, signature)
    rows = _rows(_table(data, column), column, signature)
    params = scoring_params.enforce(data.get("params"), signature.params)
    return Invocation(rows, params, True)


def _unwrapped(body: dict[str, Any], column: str, signature: Signature) -> Invocation:
    data, given = scoring_params.split(body, signature.params)
    if signature.kind == "chat":
        conversation, params = _chat(data)
        params |= scoring_params.enforce(given, signature.params)
        return Invocation((conversation,), params, False, body.get("stream") is True)
    cells = scoring_frame.from_body(data, column)
    scoring_frame.texts([data[column]], column)
    params = scoring_params.enforce(given, signature.params)
    rows = _rows(cells, column, signature)
    return Invocation(rows, params, False, body.get("stream") is True)


def _chat(data: dict[str, Any]) -> tuple[tuple[Message, ...], dict[str, Any]]:
    if "messages" not in data:
        raise scoring_frame.missing("messages")
    given = {name: value for name, value in data.items() if value is not None}
    return openai_messages.read(data["messages"]), scoring_params.enforce(given, CHAT_OPTIONS)


def _table(data: dict[str, Any], column: str) -> Cells:
    formats = [name for name in _FORMATS if name in data]
    if len(formats) != 1:
        found = ", ".join(formats) or "none of them"
        raise MalformedBody(
            "The input must be a JSON dictionary with exactly one of the input fields "
            f"{', '.join(_FORMATS)}. Received {found}."
        )
    return _FORMATS[formats[0]](data[formats[0]], column)


def _rows(cells: Cells, column: str, signature: Signature) -> tuple[str | tuple[Message, ...], ...]:
    if signature.kind == "chat":
        return tuple(
            openai_messages.read(cell, f"{column} of row {row}") for row, cell in enumerate(cells)
        )
    return scoring_frame.texts(cells, column)


def _column(signature: Signature) -> str:
    if signature.kind == "chat":
        return "messages"
    return signature.inputs[0].name if signature.inputs else "prompt"


def _decode(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {_reason(error)}") from error
    if not isinstance(data, dict):
        raise MalformedBody(
            "The input must be a JSON dictionary with exactly one of the input fields "
            f"{', '.join(_FORMATS)}. Received {kind(data)}."
        )
    return data


def _reason(error: Exception) -> str:
    """What is wrong, without the text that it is wrong in."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"{error.reason} at byte {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it holds a number with too many digits"
