"""Whole answers in the shapes of OpenAI's API; streams are in `openai_stream`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.errors import Cancelled, EngineFailed
from edge.generation import Finish, TokenLogprob, ToolCall, Usage
from edge.protocol import openai_logprobs


class Answer(Protocol):
    """One finished choice."""

    @property
    def index(self) -> int:
        """The place of the choice in the request."""

    @property
    def text(self) -> str:
        """The whole text."""

    @property
    def finish(self) -> Finish:
        """Why it ended."""

    @property
    def logprobs(self) -> Sequence[TokenLogprob]:
        """A log-probability for each token, empty where none were asked for."""

    @property
    def calls(self) -> Sequence[ToolCall]:
        """The calls of tools, in order."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every body of one answer repeats.

    `created` is in seconds since 1970, `logprobs` as in `generation.Sampling`; `fingerprint` is
    None for a model without a bundle.
    """

    id: str
    created: int
    model: str
    fingerprint: str | None
    logprobs: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The members that come before the choices, and the choices."""
        body: dict[str, Any] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }
        return {**body, "metadata": dict(self.metadata)} if self.metadata else body


def chat(envelope: Envelope, answers: Iterable[Answer], used: Usage) -> dict[str, Any]:
    """A `chat.completion`."""
    choices = [
        {
            "index": answer.index,
            "message": _message(answer),
            "logprobs": chat_logprobs(envelope, answer.logprobs),
            "finish_reason": finish_reason(answer.finish),
        }
        for answer in answers
    ]
    return {**envelope.body("chat.completion", choices), "usage": usage(used)}


def _message(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    if not answer.calls:
        return message
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in answer.calls
    ]
    return {**message, "content": answer.text or None, "tool_calls": calls}


def completion(envelope: Envelope, answers: Iterable[Answer], used: Usage) -> dict[str, Any]:
    """A `text_completion`."""
    choices = [
        {
            "index": answer.index,
            "text": answer.text,
            "logprobs": completion_logprobs(envelope, answer.logprobs),
            "finish_reason": finish_reason(answer.finish),
        }
        for answer in answers
    ]
    return {**envelope.body("text_completion", choices), "usage": usage(used)}


def usage(used: Usage) -> dict[str, Any]:
    """The token counts; `cached_tokens` are those of the prompt that needed no work."""
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.total_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }


def finish_reason(finish: Finish) -> str:
    """`stop`, `length` or `tool_calls`; a choice that ended otherwise has no answer.

    Its error is raised.
    """
    if finish is Finish.CANCELLED:
        raise Cancelled("the generation was cancelled")
    if finish is Finish.ERROR:
        raise EngineFailed("the generation failed")
    return finish.value


def chat_logprobs(envelope: Envelope, tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    """The log-probabilities of a chat choice, None where none were asked for."""
    return None if envelope.logprobs is None else openai_logprobs.chat(tokens)


def completion_logprobs(
    envelope: Envelope, tokens: Sequence[TokenLogprob]
) -> dict[str, Any] | None:
    """The log-probabilities of a text choice, None where none were asked for."""
    if envelope.logprobs is None:
        return None
    return openai_logprobs.completion(tokens, alternatives=envelope.logprobs > 0)
