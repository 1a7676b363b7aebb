"""Answers of the scoring protocol: predictions, errors, and the chunks of a stream.

A prompt model predicts strings. An `llm/v1` model predicts `chat.completion` or `text_completion`
objects, one a row, as MLflow's transformers flavor does (`_get_output_and_usage_from_tensor` in
`mlflow.transformers.llm_inference_utils` 3.17): their members in this order, texts without the
whitespace in front, and the token that ended an answer among those of `usage`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
    """What every completion and every chunk of an answer carry; `created` is Unix time, s.

    `reply` as in `edge.bundle.Signature`.
    """

    id: str
    created: int
    model: str
    kind: Literal["prompt", "chat", "completions"] = "prompt"
    reply: Literal["new", "stripped", "full"] = "new"


def predictions(
    envelope: Envelope, invocation: Invocation, choices: Sequence[Choice], usages: Sequence[Usage]
) -> bytes:
    """The JSON of an answer: `{"predictions": [...]}`, or the bare list for unwrapped bodies.

    `usages` are the counts of each row. The layout (`, ` and `: `, ASCII only) is the one of
    MLflow's server.
    """
    rows = len(invocation.rows)
    samples = len(choices) // rows if rows else 0
    answers: list[Any] = []
    for index, row in enumerate(invocation.rows):
        own = choices[index * samples : (index + 1) * samples]
        if envelope.kind == "prompt":
            reply = _reply(envelope, invocation)
            answers += [_text(reply, str(row), choice.text) for choice in own]
        else:
            answers.append(_completion(envelope, index, own, usages[index]))
    whole = {"predictions": answers} if invocation.is_wrapped else answers
    return json.dumps(whole, allow_nan=False).encode()


def failure(error: EdgeError) -> dict[str, object]:
    """An error in MLflow's shape."""
    code = _ERROR_CODES.get(type(error), "INTERNAL_ERROR")
    return {"error_code": code, "message": str(error)}


def chunks(
    envelope: Envelope, deltas: Iterable[Delta], counts: Callable[[], Sequence[Usage]]
) -> Iterator[dict[str, Any]]:
    """The data of the events of a stream; the last one carries the usage.

    For an `llm/v1` model it is the sum of `counts`, as in its whole answers.
    """
    kind = f"{_object(envelope)}.chunk"
    begun: set[int] = set()
    for delta in deltas:
        head = _head(envelope, envelope.id, kind)
        if delta.usage is not None:
            usages = [delta.usage] if envelope.kind == "prompt" else counts()
            yield {**head, "choices": [], "usage": _usage(usages)}
            continue
        text = delta.text if envelope.kind == "prompt" or delta.index in begun else _cut(delta.text)
        if text:
            begun.add(delta.index)
        piece = {"delta": {"content": text}} if envelope.kind == "chat" else {"text": text}
        choice = {"index": delta.index, **piece, "finish_reason": delta.finish}
        yield {**head, "choices": [choice]}


def _completion(
    envelope: Envelope, row: int, choices: Sequence[Choice], usage: Usage
) -> dict[str, Any]:
    id = f"{envelope.id}-{row}" if row else envelope.id
    return {
        **_head(envelope, id, _object(envelope)),
        "usage": _usage([usage]),
        "choices": [_choice(envelope, index, choice) for index, choice in enumerate(choices)],
    }


def _choice(envelope: Envelope, index: int, choice: Choice) -> dict[str, Any]:
    text = _cut(choice.text)
    message = {"role": "assistant", "content": text}
    said = {"message": message} if envelope.kind == "chat" else {"text": text}
    return {"index": index, "finish_reason": choice.finish, **said}


def _reply(envelope: Envelope, invocation: Invocation) -> str:
    """How the text is given back: a param of the signature may say it for one request."""
    full = invocation.params.get("return_full_text")
    if full is None:
        return envelope.reply
    return "full" if full else "stripped"


def _text(reply: str, prompt: str, text: str) -> str:
    """`_sanitize_output` of `mlflow.transformers` takes the whitespace off both ends."""
    if reply == "new":
        return text
    return (prompt + text if reply == "full" else text).strip()


def _cut(text: str) -> str:
    """`_get_completions_text` of MLflow's flavor takes the whitespace off the front."""
    return text.lstrip()


def _object(envelope: Envelope) -> str:
    return "chat.completion" if envelope.kind == "chat" else "text_completion"


def _head(envelope: Envelope, id: str, kind: str) -> dict[str, Any]:
    return {"id": id, "object": kind, "created": envelope.created, "model": envelope.model}


def _usage(usages: Sequence[Usage]) -> dict[str, int]:
    prompt = sum(usage.prompt_tokens for usage in usages)
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
