"""MLflow's scoring protocol: the bytes of `POST /invocations` as an `Invocation`.

    application/json   {"dataframe_split" | "dataframe_records" | "instances" | "inputs": ...,
                        "params": {...}}            answered with {"predictions": [...]}
                       {"prompt" | "messages" | "input": ..., ...}   answered with [...]
    text/csv           a header and rows            answered with {"predictions": [...]}

Follows `mlflow.pyfunc.scoring_server` 3.18; where it does not, docs/api.md says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.bundle import Param, Signature
from edge.errors import MalformedBody
from edge.generation import Message
from edge.protocol import (
    scoring_csv,
    scoring_frame,
    scoring_llm,
    scoring_media,
    scoring_params,
    scoring_unnamed,
)
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


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was asked: a row is a prompt, or for chat models a conversation.

    `params` has a value for every name of the signature's params schema, and those options of an
    `llm/v1` model that are set. `is_wrapped` says that
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
    if scoring_media.read(content_type) == "csv":
        return _csv(body, signature)
    data = _decode(body)
    is_wrapped = not any(key in data for key in UNWRAPPED_KEYS)
    if signature.kind != "prompt":
        return _llm(data, signature.kind, signature.params, is_wrapped=is_wrapped)
    return _wrapped(data, signature) if is_wrapped else _unwrapped(data, signature)


def _csv(body: bytes, signature: Signature) -> Invocation:
    if signature.kind != "prompt":
        raise MalformedBody("CSV cannot hold what this model takes, send application/json")
    column = _column(signature)
    rows = _texts(scoring_csv.read(body, column), column)
    return Invocation(rows, scoring_params.enforce(None, signature.params), True)


def _llm(
    data: dict[str, Any], asks: scoring_llm.Kind, schema: Sequence[Param], *, is_wrapped: bool
) -> Invocation:
    """A request for an `llm/v1` model, whose options stand beside its prompts."""
    if is_wrapped:
        name = _format(data)
        rows, options = scoring_llm.table(name, data[name], asks)
        return Invocation(rows, scoring_params.enforce(data.get("params"), schema) | options, True)
    rows, options = scoring_llm.one(data, asks)
    params = scoring_params.enforce(data, schema) | options
    return Invocation(rows, params, False, options.get("stream") is True)


def _wrapped(data: dict[str, Any], signature: Signature) -> Invocation:
    name, column = _format(data), _column(signature)
    table, label = (data[name], column) if column else scoring_unnamed.name_column(name, data[name])
    rows = _texts(_FORMATS[name](table, label), column)
    params = scoring_params.enforce(data.get("params"), signature.params)
    return Invocation(rows, params, True)


def _unwrapped(body: dict[str, Any], signature: Signature) -> Invocation:
    data, given = scoring_params.split(body, signature.params)
    column = _column(signature) or next(key for key in data if key in UNWRAPPED_KEYS)
    cells = scoring_frame.from_body(data, column)
    scoring_frame.texts([data[column]], column)
    params = scoring_params.enforce(given, signature.params)
    rows = scoring_frame.texts(cells, column)
    return Invocation(rows, params, False, body.get("stream") is True)


def _format(data: dict[str, Any]) -> str:
    formats = [name for name in _FORMATS if name in data]
    if len(formats) != 1:
        found = ", ".join(formats) or "none of them"
        raise MalformedBody(
            "The input must be a JSON dictionary with exactly one of the input fields "
            f"{', '.join(_FORMATS)}. Received {found}."
        )
    return formats[0]


def _texts(cells: Cells, column: str) -> tuple[str, ...]:
    if not column:
        scoring_unnamed.check_rows(cells)
    return scoring_frame.texts(cells, column or "prompt")


def _column(signature: Signature) -> str:
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
