"""Answers of the scoring protocol: predictions, errors, and the chunks of a stream.

A prompt model predicts strings. A chat model predicts `chat.completion` objects, one a row, as
MLflow's transformers flavor does for `llm/v1/chat` (`_get_output_and_usage_from_tensor` in
`mlflow.transformers.llm_inference_utils` 3.18).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge import errors
from edge.errors import EdgeError
from edge.generation import Delta, Finish, Usage
from edge.protocol.scoring import Invocation

# MLflow's names (`mlflow.exceptions.ERROR_CODE_TO_HTTP_STATUS`) for this server's errors.
_ERROR_CODES: Mapping[type[EdgeError], str] = {
    errors.MalformedBody: "BAD_REQUEST",
    errors.BodyTooLarge: "BAD_REQUEST",
    errors.InvalidRequest: "INVALID_PARAMETER_VALUE",
    errors.PromptTooLong: "INVALID_PARAMETER_VALUE",
    errors.MemoryExceeded: "INVALID_PARAMETER_VALUE",
    errors.ModelNotFound: "RESOURCE_DOES_NOT_EXIST",
    errors.Unauthorized: "UNAUTHENTICATED",
    errors.QueueFull: "REQUEST_LIMIT_EXCEEDED",
    errors.NotReady: "TEMPORARILY_UNAVAILABLE",
    errors.Draining: "TEMPORARILY_UNAVAILABLE",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
}


class Choice(Protocol):
    """A finished choice, as `edge.service.Completed` is one."""

    @property
    def text(self) -> str:
        """The whole text."""

    @property
    def finish(self) -> Finish:
        """Why it ended."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chat completion and every chunk of an answer carry; `created` is Unix time, s."""

    id: str
    created: int
    model: str
    is_chat: bool


def predictions(
    envelope: Envelope, invocation: Invocation, choices: Sequence[Choice], usage: Usage
) -> bytes:
    """The JSON of an answer: `{"predictions": [...]}`, or the bare list for unwrapped bodies.

    The layout (`, ` and `: `, ASCII only) is the one of MLflow's server.
    """
    answers: list[Any] = [choice.text for choice in choices]
    if envelope.is_chat:
        answers = list(_completions(envelope, len(invocation.rows), choices, usage))
    whole = {"predictions": answers} if invocation.is_wrapped else answers
    return json.dumps(whole, allow_nan=False).encode()


def failure(error: EdgeError) -> dict[str, object]:
    """An error in MLflow's shape."""
    code = _ERROR_CODES.get(type(error), "INTERNAL_ERROR")
    return {"error_code": code, "message": str(error)}


def chunks(envelope: Envelope, deltas: Iterable[Delta]) -> Iterator[dict[str, Any]]:
    """The data of the events of a stream; the last one carries the usage."""
    for delta in deltas:
        if delta.usage is not None:
            yield {**_head(envelope, is_chunk=True), "choices": [], "usage": _usage(delta.usage)}
            continue
        piece = {"content": delta.text} if envelope.is_chat else delta.text
        choice = {
            "index": delta.index,
            "delta" if envelope.is_chat else "text": piece,
            "finish_reason": delta.finish,
        }
        yield {**_head(envelope, is_chunk=True), "choices": [choice]}


def _completions(
    envelope: Envelope, rows: int, choices: Sequence[Choice], usage: Usage
) -> Iterator[dict[str, Any]]:
    samples = len(choices) // rows if rows else 0
    for row in range(rows):
        own = choices[row * samples : (row + 1) * samples]
        completion = {
            **_head(envelope, is_chunk=False),
            "choices": [_message(index, choice) for index, choice in enumerate(own)],
        }
        # The counts are those of the whole request: they say nothing of one row among several.
        yield completion if rows > 1 else {**completion, "usage": _usage(usage)}


def _message(index: int, choice: Choice) -> dict[str, Any]:
    message = {"role": "assistant", "content": choice.text}
    return {"index": index, "finish_reason": choice.finish, "message": message}


def _head(envelope: Envelope, *, is_chunk: bool) -> dict[str, Any]:
    kind = "chat.completion" if envelope.is_chat else "text_completion"
    return {
        "id": envelope.id,
        "object": f"{kind}.chunk" if is_chunk else kind,
        "created": envelope.created,
        "model": envelope.model,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
