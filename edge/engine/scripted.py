"""An engine without a model: it answers with its own prompt. For tests and `--scripted`.

Two scripts mirror the two models that MLflow's replies were recorded with: `echo` returns each
prompt and fails on the prompt `boom`; `echo_params` has a params schema as well.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from edge.bundle import Column, Defaults, Manifest, Param, Signature
from edge.engine import tool_format
from edge.engine.base import Choice, Constraint, Ids, Limits, Row, Step
from edge.engine.tool_format import ToolFormat
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Guidance, Message, Sampling, Tool, ToolUse

Script = Literal["echo", "echo_params"]
SCRIPTS: tuple[Script, ...] = get_args(Script)
FAILING_PROMPT = "boom"
CONTEXT_LENGTH = 1 << 24

BOS, EOS, FIRST_MARK = 256, 257, 258
# Unicode noncharacters are reserved for use inside a program: no ordinary prompt holds one.
MARKS = {"system": "\ufdd0", "user": "\ufdd1", "assistant": "\ufdd2", "end": "\ufdd3"}
_MARK_IDS = {mark: FIRST_MARK + i for i, mark in enumerate(MARKS.values())}
_USER_ID, _ASSISTANT_ID = _MARK_IDS[MARKS["user"]], _MARK_IDS[MARKS["assistant"]]
VOCAB_SIZE = FIRST_MARK + len(MARKS)
CHAT_TEMPLATE = (
    "{% set marks = " + repr(MARKS) + " %}"
    "{% for turn in messages %}{{ marks[turn.role] + turn.content + marks.end }}{% endfor %}"
    "{{ marks.assistant }}"
)


class ByteTokenizer:
    """One token a UTF-8 byte, a start token in front, and four marks for the chat template."""

    special_tokens: frozenset[str] = frozenset(_MARK_IDS)
    bos_id: int | None = BOS
    tool_format: ToolFormat = tool_format.DEFAULT

    def encode(self, text: str, *, is_chat: bool = False) -> Ids:
        """Token ids of `text`, int32 of shape (tokens,); never empty."""
        ids = [BOS]
        marks = _MARK_IDS if _is_chat(text) else {}
        for character in text:
            mark = marks.get(character)
            ids += [mark] if mark else character.encode()
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens have none and broken UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def stream(self, *, shows_markers: bool = False) -> Callable[[int], str]:
        """A decoder that is fed one id at a time and returns characters as they complete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: decoder.decode(self.token_bytes(token))

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; empty for special tokens."""
        return bytes([token]) if 0 <= token < BOS else b""

    def constrain(self, guidance: Guidance) -> Constraint:
        """Raises `InvalidRequest`: an echo cannot follow a grammar."""
        raise InvalidRequest(
            "response_format is not supported by a scripted model", param="response_format"
        )

    def constrain_calls(self, use: ToolUse, text: Guidance | None) -> Constraint:
        """Any text: a prompt that is a call is repeated as one.

        Raises `InvalidRequest` where the answer has to be one: an echo cannot follow a grammar.
        """
        if text is not None:
            return self.constrain(text)
        if use.is_required:
            raise InvalidRequest(
                "tool_choice is not supported by a scripted model, except auto and none",
                param="tool_choice",
            )
        return AnyText()

    def apply_chat_template(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The prompt of a chat, ready for the assistant's turn; tools are not shown in it."""
        roles = {"tool": "user"}
        turns = [
            MARKS[roles.get(turn.role, turn.role)]
            + turn.content
            + (self.tool_format.text(turn.calls) if turn.calls else "")
            + MARKS["end"]
            for turn in messages
        ]
        return "".join([*turns, MARKS["assistant"]])


class AnyText:
    """A constraint that constrains nothing."""

    def allowed(self, vocab_size: int) -> npt.NDArray[np.bool_]:
        """True for each token, shape (vocab_size,)."""
        return np.ones(vocab_size, dtype=np.bool_)

    def forced(self) -> list[int]:
        """Nothing has to come."""
        return []

    def accept(self, token: int) -> None:
        """Nothing to move on."""


def _is_chat(text: str) -> bool:
    """Whether a prompt came out of the chat template; a mark elsewhere is just a character."""
    return text[:1] in _MARK_IDS and text.endswith(MARKS["end"] + MARKS["assistant"])


@dataclass(slots=True)
class EchoRow:
    """One sequence: what is still to be read and what is still to be said."""

    prompt: list[int]
    answer: list[int]
    report_logprobs: bool
    report_prompt: bool
    read: int = 0
    said: int = 0
    kv_bytes: int = 0


@dataclass(slots=True)
class EchoEngine:
    """Repeats the prompt (of a chat: the last user message) and then ends.

    Every call of `advance` sleeps `step_delay_s` once and reads at most `prefill_chunk` prompt
    tokens a row. The prompt `failing_prompt` is refused with `EngineFailed` in `open`; a row that
    has said `fail_after` tokens fails, and the other rows go on. `open_rows` counts the rows not
    closed yet, `steps` the calls of `advance`.
    """

    step_delay_s: float = 0.0
    prefill_chunk: int = 1 << 16
    context_length: int = CONTEXT_LENGTH
    kv_bytes_per_token: int = 0
    failing_prompt: str | None = FAILING_PROMPT
    fail_after: int | None = None
    open_rows: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    is_shut_down: bool = field(default=False, init=False)

    @property
    def limits(self) -> Limits:
        """A context that no request reaches, unless the constructor said otherwise."""
        return Limits(
            context_length=self.context_length,
            eos_ids=frozenset({EOS}),
            vocab_size=VOCAB_SIZE,
            kv_bytes_per_token=self.kv_bytes_per_token,
        )

    def open(
        self,
        prompt: Ids,
        max_tokens: int,
        sampling: Sampling,
        *,
        constraint: Constraint | None = None,
        echo_logprobs: bool = False,
        adapter: str = "",
    ) -> EchoRow:
        """Reserve a row; raises `EngineFailed` on the failing prompt, and for an adapter."""
        if adapter:
            raise EngineFailed("an echo knows no adapters")
        ids = [int(token) for token in prompt]
        answer = _answer(ids)
        if self.failing_prompt is not None and answer == list(self.failing_prompt.encode()):
            raise EngineFailed("the model failed on this prompt")
        self.open_rows += 1
        reserved = self.kv_bytes_per_token * (len(ids) + max_tokens)
        return EchoRow(ids, answer, sampling.logprobs is not None, echo_logprobs, kv_bytes=reserved)

    def advance(self, rows: list[Row]) -> list[Step]:
        """One prefill chunk or one token for every row."""
        self.steps += 1
        if self.step_delay_s:
            time.sleep(self.step_delay_s)
        return [self._advance(cast(EchoRow, row)) for row in rows]

    def interrupt(self, row: Row) -> None:
        """Nothing: no call takes long."""

    def close(self, row: Row) -> None:
        """Release the row."""
        self.open_rows -= 1

    def keep(self, most_bytes: int) -> None:
        """Nothing: an echo keeps no prefix."""

    def preload(self, prompt: Ids) -> None:
        """Nothing: an echo keeps no prefix."""

    def shutdown(self) -> None:
        """Remember that the engine was shut down."""
        self.is_shut_down = True

    def _advance(self, row: EchoRow) -> Step:
        chunk = row.prompt[row.read : row.read + self.prefill_chunk]
        reported = _prompt_choices(chunk, row.read) if row.report_prompt else ()
        row.read += len(chunk)
        if row.read < len(row.prompt):
            return Step(prefilled=len(chunk), prompt_choices=reported)
        if row.said == self.fail_after:
            failure = EngineFailed("the model failed in the middle of its answer")
            return Step(prefilled=len(chunk), prompt_choices=reported, error=failure)
        return Step(prefilled=len(chunk), choice=_say(row), prompt_choices=reported)


def _say(row: EchoRow) -> Choice:
    token = row.answer[row.said] if row.said < len(row.answer) else EOS
    row.said += 1
    return Choice(token, 0.0, ((token, 0.0),)) if row.report_logprobs else Choice(token)


def _answer(prompt: list[int]) -> list[int]:
    """The part of the prompt to repeat: the last user turn of a chat, else all of it."""
    body = [token for token in prompt if token != BOS]
    if not body or body[-1] != _ASSISTANT_ID or _USER_ID not in body:
        return body
    start = len(body) - body[::-1].index(_USER_ID)
    rest = body[start:]
    end = next(i for i, token in enumerate(rest) if token >= FIRST_MARK)
    return rest[:end]


def _prompt_choices(chunk: list[int], offset: int) -> tuple[Choice, ...]:
    """Certain tokens, except the very first, which nothing precedes."""
    return tuple(
        Choice(token, None if offset + i == 0 else 0.0, ((token, 0.0),))
        for i, token in enumerate(chunk)
    )


def manifest(script: Script) -> Manifest:
    """The manifest of a scripted model: no files, MLflow's recorded signature."""
    params = (
        Param("max_tokens", "long", 16),
        Param("temperature", "double", 0.0),
        Param("stop", "string", ["<end>"], is_list=True),
    )
    column = Column("prompt", "string")
    signature = Signature(
        kind="prompt",
        inputs=(column,),
        outputs=(Column("output", "string"),),
        params=params if script == "echo_params" else (),
    )
    return Manifest(
        name=script,
        flavor="onnx",
        files=(),
        signature=signature,
        generation=Defaults(max_tokens=300, prompt_format="raw"),
        context_length=CONTEXT_LENGTH,
        eos_ids=(EOS,),
        kv_bytes_per_token=0,
        chat_template=CHAT_TEMPLATE,
        model_type="scripted",
        quantization="none",
    )
