"""The nouns of generation: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Operation = Literal["chat", "text_completion", "invocations"]


class Finish(StrEnum):
    """Why a choice ended (the values of OpenAI's `finish_reason`, plus two of our own)."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Guidance:
    """A constraint on the text of the answer.

    `kind` `json_object`: any JSON object, `source` unused; `json_schema`: `source` is the
    schema as JSON text; `regex`: `source` is the expression; `lark`: `source` is a Lark grammar;
    `tools`: the same, made of the tools of a request. `param` is the parameter it came from, for
    errors.
    """

    kind: Literal["json_object", "json_schema", "regex", "lark", "tools"]
    source: str = ""
    param: str = field(default="response_format", compare=False)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen from the logits.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 are off. `repetition_penalty`
    is the divisive one of CTRL (arXiv:1909.05858), 1 is off; `presence_penalty` and
    `frequency_penalty` are OpenAI's subtractive ones over the generated tokens, 0 is off.
    `logit_bias` maps token ids to an addend. `logprobs`: None for none, else how many
    alternatives to report beside the chosen token (0 to 20).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    guidance: Guidance | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools an answer may call; with `is_required` it must, without `is_parallel` once."""

    tools: tuple[Tool, ...]
    is_required: bool = False
    is_parallel: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of call `index` of an answer: its id and name at first, then more `arguments`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    `calls` belong to the assistant's turns; a `tool` turn is the result of the call `call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to continue: exactly one of the first three fields is set.

    `text` goes to the tokenizer as it stands (special tokens included); `messages` go through
    the model's chat template first; `ids` are token ids already. The template shows `tools` to
    the model beside `messages`.
    """

    text: str | None = None
    messages: tuple[Message, ...] | None = None
    ids: tuple[int, ...] | None = None
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request's worth of generation: `len(prompts) * n` choices.

    The choice of prompt `i` and sample `j` has index `i * n + j`. `max_tokens` None means
    the bundle's default (capped by the context), `stop` holds the strings that end a choice and
    are not part of its text. `echo` puts the prompt's text (and its token log-probabilities where
    `sampling.logprobs` is set) before the answer. `timeout_s` None means the appliance's limit.
    `tool_use` None means that nothing in the answer is a call.
    `adapter` names one of the bundle's LoRA adapters, "" the base model.
    """

    operation: Operation
    prompts: tuple[Prompt, ...]
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    echo: bool = False
    timeout_s: float | None = None
    request_id: str = ""
    tool_use: ToolUse | None = None
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Log-probability of a chosen token and its `top` alternatives as (id, text, bytes, logprob).

    `logprob` is None only for the first token of an echoed prompt. `offset` is where the
    token's text starts in the choice's text, in characters.
    """

    id: int
    text: str
    raw: bytes
    logprob: float | None
    top: tuple[tuple[int, str, bytes, float], ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one or more choices; `cached_tokens` are part of `prompt_tokens`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer: new text of choice `index`, whole characters only, or of its calls.

    `finish` is set exactly once a choice, on its last delta (whose text may be empty);
    `usage` is set exactly once a request, on its very last delta (text empty, index 0,
    finish None).
    """

    index: int
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    calls: tuple[CallDelta, ...] = ()
