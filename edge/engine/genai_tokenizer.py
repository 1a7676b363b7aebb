"""The tokenizer of an onnxruntime-genai model folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime_genai as og

from edge.engine.base import Ids
from edge.engine.chat_template import Turn
from edge.engine.tokenizer import TemplateTokenizer, check_text
from edge.errors import StartupError

# The runtime rewrites the schemas of tools, and loses half of each, unless it finds one of a few
# expressions in the template; a comment in front is enough.
_TOOLS_AS_THEY_ARE = "{# tools|tojson #}"


class GenaiTokenizer(TemplateTokenizer):
    """The tokenizer of an onnxruntime-genai model folder."""

    def __init__(self, folder: Path, chat_template: str) -> None:
        """`chat_template` is the bundle's Jinja template; empty where the model has none.

        Raises `StartupError`.
        """
        super().__init__(folder, chat_template)
        try:
            self._tokenizer = og.Tokenizer(str(folder))
        except RuntimeError as error:
            raise StartupError(
                [f"model: the runtime cannot load its tokenizer: {error}"]
            ) from error

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence id."""
        return int(self._tokenizer.bos_token_id)

    def encode(self, text: str, *, is_chat: bool = False) -> Ids:
        """Ids of `text`, int32, shape (tokens,), chat or not. Raises `InvalidRequest`."""
        check_text(text)
        return np.asarray(self._tokenizer.encode(text), dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""
        return cast(str, self._tokenizer.decode(np.asarray(ids, dtype=np.int32)))

    def stream(self, *, shows_markers: bool = False) -> Callable[[int], str]:
        """A fresh incremental decoder."""
        decode = cast(Callable[[int], str], self._tokenizer.create_stream().decode)
        shown = self._hidden_markers if shows_markers else {}
        return (lambda token: shown.get(token) or decode(token)) if shown else decode

    @property
    def _end_ids(self) -> Sequence[int]:
        return [int(token) for token in self._tokenizer.eos_token_ids]

    def _render(self, turns: list[Turn], tools: str | None) -> str:
        comment = _TOOLS_AS_THEY_ARE if tools else ""
        rendered = self._tokenizer.apply_chat_template(
            json.dumps(turns),
            template_str=comment + self._chat_template,
            tools=tools,
            add_generation_prompt=True,
        )
        return cast(str, rendered)
