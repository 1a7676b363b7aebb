"""JSON bodies of OpenAI's chat and text completions as `Call`s.

Reference: the request schemas of POST /v1/chat/completions and POST /v1/completions, with
`top_k`, `min_p` and `repetition_penalty` as other open servers name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.bundle import Defaults
from edge.errors import InvalidRequest
from edge.generation import Prompt, Request
from edge.protocol import (
    openai_messages,
    openai_prompt,
    openai_refusals,
    openai_sampling,
    openai_tools,
)
from edge.protocol.fields import Fields, check_object, check_text, wrong
from edge.protocol.openai_sampling import MAX_CHOICES, MAX_LOGPROBS

MAX_TOKENS = 2**31 - 1
MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512

# Names of the caller's own; they change nothing in the answer.
_LABELS = ("user", "safety_identifier", "prompt_cache_key")
_COMMON = openai_sampling.KNOWN | {
    *_LABELS,
    *("max_tokens", "metadata", "model", "n", "stop", "logprobs", "stream", "stream_options"),
}
CHAT_KNOWN = (
    _COMMON
    | {"messages", "max_completion_tokens", "top_logprobs"}
    | openai_tools.KNOWN
    | openai_refusals.CHAT.keys()
)
COMPLETION_KNOWN = _COMMON | {"prompt", "echo", "best_of"} | openai_refusals.COMPLETION.keys()


@dataclass(frozen=True, slots=True)
class Call:
    """What a body asks for: the generation, and how the answer is to be sent.

    `model` is the name as the caller gave it, "" where none was given.
    """

    request: Request
    model: str = ""
    stream: bool = False
    include_usage: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


def chat(data: object, defaults: Defaults, request_id: str = "") -> Call:
    """Decode the body of POST /v1/chat/completions; raises `InvalidRequest`."""
    fields = Fields(data, known=CHAT_KNOWN, elsewhere=openai_refusals.CHAT_ELSEWHERE)
    openai_refusals.refuse(fields, openai_refusals.CHAT)
    messages = openai_messages.read(fields.required("messages", "a list of messages"))
    tools, tool_use = openai_tools.read(fields)
    request = Request(
        operation="chat",
        prompts=(Prompt(messages=messages, tools=tools),),
        sampling=openai_sampling.sampling(fields, defaults, _chat_logprobs(fields)),
        max_tokens=_chat_max_tokens(fields),
        stop=openai_sampling.stop(fields, defaults),
        n=_n(fields),
        request_id=request_id,
        tool_use=tool_use,
    )
    _check_beside_tools(fields, request)
    return _call(fields, request)


def completion(data: object, defaults: Defaults, request_id: str = "") -> Call:
    """Decode the body of POST /v1/completions; raises `InvalidRequest`."""
    fields = Fields(data, known=COMPLETION_KNOWN, elsewhere=openai_refusals.COMPLETION_ELSEWHERE)
    openai_refusals.refuse(fields, openai_refusals.COMPLETION)
    prompts = openai_prompt.read(fields.required("prompt", openai_prompt.EXPECTED))
    logprobs = fields.integer("logprobs", 0, MAX_LOGPROBS)
    echo = fields.boolean("echo") or False
    request = Request(
        operation="text_completion",
        prompts=prompts,
        sampling=openai_sampling.sampling(fields, defaults, logprobs),
        # With nothing to generate, an echo still scores the prompt.
        max_tokens=fields.integer("max_tokens", 0 if echo else 1, MAX_TOKENS),
        stop=openai_sampling.stop(fields, defaults),
        n=_n(fields),
        echo=echo,
        request_id=request_id,
    )
    _check_best_of(fields, request.n)
    return _call(fields, request)


def _check_beside_tools(fields: Fields, request: Request) -> None:
    path = fields.path("structured_outputs")
    if request.tool_use is not None and fields.raw("structured_outputs") is not None:
        message = f"{path} cannot stand beside tools, unless tool_choice is none"
        raise InvalidRequest(message, param=path)


def _call(fields: Fields, request: Request) -> Call:
    for label in _LABELS:
        fields.text(label)
    stream = fields.boolean("stream") or False
    return Call(
        request=request,
        model=fields.text("model") or "",
        stream=stream,
        include_usage=_include_usage(fields, stream),
        metadata=_metadata(fields),
    )


def _n(fields: Fields) -> int:
    return fields.integer("n", 1, MAX_CHOICES) or 1


def _chat_max_tokens(fields: Fields) -> int | None:
    new = fields.integer("max_completion_tokens", 1, MAX_TOKENS)
    old = fields.integer("max_tokens", 1, MAX_TOKENS)
    if new is not None and old is not None and new != old:
        path = fields.path("max_tokens")
        raise wrong(path, str(old), f"the {new} of max_completion_tokens")
    return old if new is None else new


def _chat_logprobs(fields: Fields) -> int | None:
    wanted = fields.boolean("logprobs") or False
    top = fields.integer("top_logprobs", 0, MAX_LOGPROBS)
    if top and not wanted:
        path = fields.path("top_logprobs")
        raise InvalidRequest(f"{path} is {top}, which needs logprobs to be true", param=path)
    return (top or 0) if wanted else None


def _check_best_of(fields: Fields, n: int) -> None:
    best_of = fields.integer("best_of", 1, MAX_CHOICES)
    if best_of not in (None, n):
        path = fields.path("best_of")
        message = f"{path} is {best_of}: ranking is not supported here, expected the {n} of n"
        raise InvalidRequest(message, param=path)


def _include_usage(fields: Fields, stream: bool) -> bool:
    value, path = fields.raw("stream_options"), fields.path("stream_options")
    if value is None:
        return False
    if not stream:
        raise InvalidRequest(f"{path} needs stream to be true", param=path)
    options = Fields(value, path, known=("include_usage", "include_obfuscation"))
    openai_refusals.refuse(options, {"include_obfuscation": (False,)})
    return options.boolean("include_usage") or False


def _metadata(fields: Fields) -> dict[str, str]:
    value, path = fields.raw("metadata"), fields.path("metadata")
    entries = {} if value is None else check_object(value, path)
    if len(entries) > MAX_METADATA:
        raise wrong(path, f"an object of {len(entries)}", f"at most {MAX_METADATA} entries")
    for key, entry in entries.items():
        _check_length(check_text(key, path), path, MAX_METADATA_KEY)
        _check_length(check_text(entry, f"{path}.{key}"), f"{path}.{key}", MAX_METADATA_VALUE)
    return entries


def _check_length(text: str, path: str, most: int) -> None:
    if len(text) > most:
        raise wrong(path, f"a string of {len(text)} characters", f"at most {most} characters")
