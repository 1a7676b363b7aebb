"""The `llm/v1` signatures: a conversation or a prompt a row, and its options beside it.

MLflow's transformers flavor declares the options as columns (`mlflow.types.llm` 3.17) and takes
those of the first row for every row; here rows that differ are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from edge.bundle import Param
from edge.errors import InvalidRequest
from edge.generation import Message
from edge.protocol import openai_messages, scoring_params, scoring_records
from edge.protocol.fields import check_text, kind
from edge.protocol.scoring_frame import missing
from edge.protocol.scoring_records import Row

Kind = Literal["chat", "completions"]
Asked = tuple[tuple[str | tuple[Message, ...], ...], dict[str, Any]]

COLUMNS: Mapping[Kind, str] = {"chat": "messages", "completions": "prompt"}
OPTIONS = (
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
# Declared by `llm/v1/chat` too. The pipeline takes no notice of the one and fails at the other.
REFUSED = {
    "tools": "tools are called at /v1/chat/completions",
    "custom_inputs": "this model has no use for them",
}
_WHOLE = frozenset(option.name for option in OPTIONS if option.type == "long")
_NAMES = (*(option.name for option in OPTIONS), *REFUSED)
_FORMATS: Mapping[str, Callable[[object, Sequence[str]], list[Row]]] = {
    "dataframe_records": scoring_records.from_records,
    "dataframe_split": scoring_records.from_split,
    "inputs": scoring_records.from_inputs,
    "instances": scoring_records.from_instances,
}


def one(body: Row, signature: Kind) -> Asked:
    """The row and the options of an unwrapped body. Raises `InvalidRequest`."""
    column = COLUMNS[signature]
    if column not in body:
        raise missing(column)
    return (_prompt(body[column], column, signature),), _options(body)


def table(name: str, value: object, signature: Kind) -> Asked:
    """The rows of the table `value` in the format `name`, and the options of them all.

    Raises `MalformedBody` or `InvalidRequest`.
    """
    column = COLUMNS[signature]
    rows = _FORMATS[name](value, (column, *_NAMES))
    prompts = tuple(
        _prompt(row.get(column), f"{column} of row {index}", signature)
        for index, row in enumerate(rows)
    )
    options = [_options(row) for row in rows]
    for index, other in enumerate(options):
        _check_equal(options[0], other, index)
    if options and options[0].get("stream"):
        raise InvalidRequest("stream is true, which needs an unwrapped body", param="stream")
    return prompts, options[0] if options else {}


def _prompt(value: object, path: str, signature: Kind) -> str | tuple[Message, ...]:
    return openai_messages.read(value, path) if signature == "chat" else check_text(value, path)


def _options(row: Row) -> dict[str, Any]:
    """The options that a row sets; null leaves one open."""
    for name, reason in REFUSED.items():
        if row.get(name):
            found = f"{name} is {kind(row[name])}"
            raise InvalidRequest(f"{found}, which is not served here: {reason}", param=name)
    given = {name: _plain(name, row[name]) for name in _NAMES if row.get(name) is not None}
    options = scoring_params.enforce(given, OPTIONS)
    return {name: value for name, value in options.items() if value is not None}


def _plain(name: str, value: object) -> object:
    """A lone stop string is a list of one, and 5.0 is a whole number, as pandas writes it."""
    if name == "stop" and isinstance(value, str):
        return [value]
    if name in _WHOLE and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _check_equal(first: Mapping[str, Any], other: Mapping[str, Any], row: int) -> None:
    for option in OPTIONS:
        if first.get(option.name) != other.get(option.name):
            message = f"{option.name} of row {row} is not that of row 0, expected one for all rows"
            raise InvalidRequest(message, param=option.name)
