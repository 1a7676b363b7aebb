"""Grammars: which tokens may come next, by the `llguidance` library."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import llguidance
import numpy as np
import numpy.typing as npt

from edge.engine.base import Constraint
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Guidance

Mask = npt.NDArray[np.bool_]
_CACHED_GRAMMARS = 64
_TURNS = 16
# Between two JSON tokens: a space, or a line break with its indentation. Where any whitespace is
# allowed, small models fall into writing nothing else.
_JSON_SPACING = {"whitespace_pattern": r" ?|\n {0,16}"}


class Matcher:
    """A grammar's position in one answer."""

    def __init__(self, matcher: Any, eos_ids: Sequence[int]) -> None:
        self._matcher = matcher
        self._eos_ids = list(eos_ids)

    def allowed(self, vocab_size: int) -> Mask:
        """True for each token that may come next; only EOS once the grammar is complete.

        Raises `EngineFailed` where the grammar runs into a limit of the library.
        """
        if self._matcher.is_stopped():
            return self._only_eos(vocab_size)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise EngineFailed("the grammar became too complex for this answer")
        mask = np.zeros(vocab_size, dtype=np.bool_)
        unpacked = np.unpackbits(bits, bitorder="little")[:vocab_size]
        mask[: len(unpacked)] = unpacked
        return mask

    def forced(self) -> list[int]:
        """Tokens that spell what the grammar leaves no choice about; often none.

        The model may still cut the same text into other tokens.
        """
        return [] if self._matcher.is_stopped() else list(self._matcher.compute_ff_tokens())

    def accept(self, token: int) -> None:
        """Move on by `token`; an EOS token ends the grammar."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)

    def _only_eos(self, vocab_size: int) -> Mask:
        mask = np.zeros(vocab_size, dtype=np.bool_)
        mask[self._eos_ids] = True
        return mask


class Grammars:
    """Compiles constraints for one vocabulary, with a cache. Safe to call from many threads."""

    def __init__(self, tokenizer_json: str, eos_ids: Sequence[int]) -> None:
        """`tokenizer_json` is the content of a Hugging Face `tokenizer.json`.

        Raises `InvalidRequest` where the library cannot read that tokenizer.
        """
        try:
            self._vocabulary = llguidance.LLTokenizer(tokenizer_json, eos_token=list(eos_ids))
        except ValueError as error:
            raise InvalidRequest("this model's tokenizer does not support guided output") from error
        self._eos_ids = tuple(eos_ids)
        self._compiled = functools.lru_cache(maxsize=_CACHED_GRAMMARS)(self._compile)
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def constrain(self, guidance: Guidance) -> Constraint:
        """A fresh constraint; raises `InvalidRequest` that says what is wrong with the grammar."""
        # Equal grammars take turns, so that requests at the same time compile theirs once.
        with self._turns[hash(guidance) % _TURNS]:
            compiled = self._compiled(guidance)
        return Matcher(compiled.deep_copy(), self._eos_ids)

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for."""
        return bytes(self._vocabulary.decode_bytes([token]))

    def _compile(self, guidance: Guidance) -> Any:
        matcher = llguidance.LLMatcher(self._vocabulary, _grammar(guidance), log_level=0)
        if matcher.is_error():
            reason = _reason(matcher.get_error())
            raise InvalidRequest(
                f"the {guidance.kind} cannot be followed: {reason}", param=guidance.param
            )
        return matcher


def _reason(error: str) -> str:
    """The first line, and what a fault of a regular expression is: it stands further down."""
    first, *rest = error.splitlines()
    cause = next((line for line in rest if line.startswith("error: ")), "")
    return f"{first} {cause.removeprefix('error: ')}".strip()


def _grammar(guidance: Guidance) -> str:
    compilers = llguidance.LLMatcher
    match guidance.kind:
        case "json_object":
            schema = '{"type": "object"}'
            return str(compilers.grammar_from_json_schema(schema, defaults=_JSON_SPACING))
        case "regex":
            return str(compilers.grammar_from_regex(guidance.source))
        case "lark" | "tools":
            return str(compilers.grammar_from_lark(guidance.source))
    try:
        return str(compilers.grammar_from_json_schema(guidance.source, defaults=_JSON_SPACING))
    except ValueError as error:
        message = f"the json_schema cannot be read: {error}"
        raise InvalidRequest(message, param=guidance.param) from error
