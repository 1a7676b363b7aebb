"""Deltas as the chunks of OpenAI's streams.

A chat choice opens with a chunk that holds the role, and ends with an empty one that holds
`finish_reason`. A tool call opens with its id and name, and its arguments follow in pieces. Where
usage was asked for it comes last, in a chunk without choices, and every chunk before it has
`"usage": null`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edge.generation import CallDelta, Delta, Usage
from edge.protocol.openai_response import (
    Envelope,
    chat_logprobs,
    completion_logprobs,
    finish_reason,
    usage,
)

Chunk = dict[str, Any]


def chat(envelope: Envelope, deltas: Iterable[Delta], *, include_usage: bool) -> Iterator[Chunk]:
    """The `chat.completion.chunk`s of a generation."""
    opened: set[int] = set()
    for delta in deltas:
        choices: list[Chunk] = []
        if delta.usage is None and delta.index not in opened:
            opened.add(delta.index)
            content = None if delta.calls and not delta.text else ""
            choices.append(_chat_choice(delta, {"role": "assistant", "content": content}))
        choices += _chat_choices(envelope, delta)
        for choice in choices:
            yield _chunk(envelope, "chat.completion.chunk", [choice], include_usage)
        yield from _usage_chunk(envelope, "chat.completion.chunk", delta.usage, include_usage)


def completion(
    envelope: Envelope, deltas: Iterable[Delta], *, include_usage: bool
) -> Iterator[Chunk]:
    """The `text_completion` chunks of a generation."""
    for delta in deltas:
        if delta.text or delta.logprobs or delta.finish:
            choice = {
                "index": delta.index,
                "text": delta.text,
                "logprobs": completion_logprobs(envelope, delta.logprobs),
                "finish_reason": None if delta.finish is None else finish_reason(delta.finish),
            }
            yield _chunk(envelope, "text_completion", [choice], include_usage)
        yield from _usage_chunk(envelope, "text_completion", delta.usage, include_usage)


def _chat_choices(envelope: Envelope, delta: Delta) -> Iterator[Chunk]:
    if delta.text or delta.logprobs:
        logprobs = chat_logprobs(envelope, delta.logprobs)
        yield _chat_choice(delta, {"content": delta.text}, logprobs=logprobs)
    for call in delta.calls:
        yield _chat_choice(delta, {"tool_calls": [_call(call)]})
    if delta.finish is not None:
        yield _chat_choice(delta, {}, finish=finish_reason(delta.finish))


def _call(call: CallDelta) -> Chunk:
    if not call.id:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}


def _chat_choice(
    delta: Delta, content: Chunk, *, logprobs: Chunk | None = None, finish: str | None = None
) -> Chunk:
    return {
        "index": delta.index,
        "delta": content,
        "logprobs": logprobs,
        "finish_reason": finish,
    }


def _chunk(envelope: Envelope, kind: str, choices: list[Chunk], include_usage: bool) -> Chunk:
    chunk = envelope.body(kind, choices)
    return {**chunk, "usage": None} if include_usage else chunk


def _usage_chunk(
    envelope: Envelope, kind: str, used: Usage | None, include_usage: bool
) -> Iterator[Chunk]:
    if used is not None and include_usage:
        yield {**envelope.body(kind, []), "usage": usage(used)}
