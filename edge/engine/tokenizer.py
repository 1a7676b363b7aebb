"""Text <-> token ids, chat templates and the raw bytes of tokens."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge.engine import tool_grammar
from edge.engine.base import Constraint, Ids
from edge.engine.chat_template import ChatTemplate, Turn
from edge.engine.tool_format import ToolFormat
from edge.engine.tool_grammar import Vocabulary
from edge.errors import InvalidRequest
from edge.generation import Guidance, Message, Tool, ToolUse

if TYPE_CHECKING:
    from edge.engine.guidance import Grammars

_CACHED_GRAMMARS = 16


class Tokenizer(Protocol):
    """What the service asks of a tokenizer. Safe to call from many threads."""

    @property
    def special_tokens(self) -> frozenset[str]:
        """The texts of the special tokens, e.g. `<|user|>`."""

    @property
    def bos_id(self) -> int | None:
        """The id that stands for an empty prompt; None where the model has none."""

    def encode(self, text: str, *, is_chat: bool = False) -> Ids:
        """Ids of `text`, int32, shape (tokens,). Special tokens in the text become their ids.

        With `is_chat` the text came out of `apply_chat_template`, which writes every token that
        begins or ends a text itself.
        Raises `InvalidRequest` for text that the model cannot be given.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens are left out, broken UTF-8 becomes U+FFFD."""

    def stream(self, *, shows_markers: bool = False) -> Callable[[int], str]:
        """A decoder that is fed one id at a time and returns whole characters as they complete.

        With `shows_markers` the special tokens of `tool_format` have their text.
        """

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; may be a part of a UTF-8 character."""

    def constrain(self, guidance: Guidance) -> Constraint:
        """Compile a grammar; raises `InvalidRequest` that says what is wrong with it."""

    def constrain_calls(self, use: ToolUse, text: Guidance | None) -> Constraint:
        """Compile what an answer with tools may be; `text` binds one that calls none.

        Raises `InvalidRequest`.
        """

    @property
    def tool_format(self) -> ToolFormat:
        """How the model writes its tool calls."""

    def apply_chat_template(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of a chat up to where the assistant speaks. Raises `InvalidRequest`."""


class TemplateTokenizer(ABC):
    """What every tokenizer with a `tokenizer.json` and a Jinja template has in common."""

    def __init__(self, folder: Path, chat_template: str) -> None:
        """`chat_template` is the bundle's Jinja template; empty where the model has none."""
        self._definition = folder / "tokenizer.json"
        self._chat_template = chat_template

    @abstractmethod
    def _render(self, turns: list[Turn], tools: str | None) -> str:
        """Apply the chat template; raises `RuntimeError` where it refuses."""

    @property
    @abstractmethod
    def _end_ids(self) -> Sequence[int]:
        """The ids that end a grammar."""

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """The texts of the special tokens that `tokenizer.json` adds to the vocabulary."""
        return frozenset(token["content"] for token in self._added if token.get("special"))

    @cached_property
    def _added(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(self._definition.read_bytes()).get("added_tokens", []))
        except OSError:
            return []

    @cached_property
    def _hidden_markers(self) -> dict[int, str]:
        """Markers of calls that a decoder leaves out, since they are special tokens."""
        special = (token for token in self._added if token.get("special"))
        parts = self.tool_format.parts
        texts = {int(token["id"]): str(token["content"]) for token in special}
        return {token: text for token, text in texts.items() if any(text in part for part in parts)}

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for."""
        return self._grammars.token_bytes(token)

    def constrain(self, guidance: Guidance) -> Constraint:
        """A fresh constraint for one row."""
        return self._grammars.constrain(guidance)

    def constrain_calls(self, use: ToolUse, text: Guidance | None) -> Constraint:
        """A fresh constraint for one row of a request with tools."""
        source = self._call_grammar(use, text)
        try:
            return self._grammars.constrain(Guidance("tools", source, "tools"))
        except InvalidRequest as error:
            message = tool_grammar.named(str(error), source, use)
            raise InvalidRequest(message, param=error.param) from error

    @cached_property
    def _call_grammar(self) -> Callable[[ToolUse, Guidance | None], str]:
        """The grammar of a request's tools as text, made once for all choices of a request."""
        form, vocabulary = self.tool_format, Vocabulary.of(self._added)
        return lru_cache(maxsize=_CACHED_GRAMMARS)(
            lambda use, text: tool_grammar.lark(form, use, text, vocabulary)
        )

    @property
    def tool_format(self) -> ToolFormat:
        """The notation that the chat template or the added tokens tell of."""
        return self._chat.form

    def apply_chat_template(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """Render the chat with the bundle's template."""
        if not self._chat_template:
            raise InvalidRequest("this model has no chat template", param="messages")
        for text in (*(m.content for m in messages), *(tool.description for tool in tools)):
            check_text(text)
        try:
            return self._chat.apply(messages, tools)
        except RuntimeError as error:
            raise InvalidRequest(
                "the model's chat template does not accept these messages", param="messages"
            ) from error

    @cached_property
    def _chat(self) -> ChatTemplate:
        texts = [token["content"] for token in self._added]
        return ChatTemplate(self._render, self._chat_template, texts)

    @cached_property
    def _grammars(self) -> Grammars:
        # Imported and built at first use: few deployments guide their output, and it costs memory.
        from edge.engine.guidance import Grammars

        try:
            definition = self._definition.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidRequest("this model has no tokenizer.json to guide output with") from error
        return Grammars(definition, self._end_ids)


def check_text(text: str) -> None:
    """Raises `InvalidRequest` for text that is no C string or no Unicode.

    A runtime that takes C strings would cut it at NUL, and none knows surrogates.
    """
    try:
        is_whole = b"\0" not in text.encode()
    except UnicodeEncodeError:
        is_whole = False
    if not is_whole:
        raise InvalidRequest("the prompt holds a NUL character or a lone surrogate")
