"""The tokenizer of a transformers model folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jinja2
import numpy as np
from tokenizers import decoders
from transformers import AutoTokenizer

from edge.engine.base import Ids
from edge.engine.chat_template import Turn
from edge.engine.tokenizer import TemplateTokenizer, check_text
from edge.errors import StartupError

# What templates raise where they refuse a chat, or stumble over one that they do not expect.
_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError)


class PipelineTokenizer(TemplateTokenizer):
    """A fast tokenizer; ids and chats are as transformers makes them."""

    def __init__(
        self,
        folder: Path,
        chat_template: str,
        eos_ids: Sequence[int],
        *,
        runs_remote_code: bool = False,
    ) -> None:
        """`chat_template` is the bundle's Jinja template; empty where the model has none.

        `eos_ids` end a grammar. Raises `StartupError`.
        """
        super().__init__(folder, chat_template)
        self._eos_ids = tuple(eos_ids)
        self._tokenizer = _load(folder, runs_remote_code)
        # The library's own methods set these at each call; without them many threads may encode.
        self._backend: Any = self._tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence id; None where the model has none."""
        return cast("int | None", self._tokenizer.bos_token_id)

    def encode(self, text: str, *, is_chat: bool = False) -> Ids:
        """Ids of `text`, int32, shape (tokens,); a chat brings its own beginning of sequence.

        Raises `InvalidRequest`.
        """
        check_text(text)
        ids = self._backend.encode(text, add_special_tokens=not is_chat).ids
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""
        return cast(str, self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=True))

    def stream(self, *, shows_markers: bool = False) -> Callable[[int], str]:
        """A fresh incremental decoder."""
        decoder = decoders.DecodeStream(skip_special_tokens=True)
        shown = self._hidden_markers if shows_markers else {}
        backend = self._backend

        def decode(token: int) -> str:
            return shown.get(token) or decoder.step(backend, int(token)) or ""

        return decode

    @property
    def _end_ids(self) -> Sequence[int]:
        return self._eos_ids

    def _render(self, turns: list[Turn], tools: str | None) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                turns,
                tools=json.loads(tools) if tools else None,
                chat_template=self._chat_template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except _REFUSALS as error:
            raise RuntimeError(f"the chat template refuses: {error}") from error
        return cast(str, rendered)


def _load(folder: Path, runs_remote_code: bool) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=runs_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise StartupError([f"model: transformers cannot load its tokenizer: {reason}"]) from error
    if not getattr(tokenizer, "is_fast", False):
        raise StartupError(["model: its tokenizer has no tokenizer.json, expected a fast one"])
    return tokenizer
