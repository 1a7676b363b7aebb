"""System prompts that are known before the first request: read, and run ahead of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from edge.engine.base import Engine, Ids, common
from edge.engine.tokenizer import Tokenizer
from edge.errors import EngineFailed, InvalidRequest, StartupError
from edge.generation import Message

_log = logging.getLogger(__name__)
# Two turns that begin differently: what their chats have in common is the head of every chat.
_TURNS = ("a", "1")


def read(path: Path | None) -> tuple[str, ...]:
    """The texts of a JSON file that holds a list of them; none where there is no file.

    Raises `StartupError`.
    """
    if path is None:
        return ()
    try:
        texts = json.loads(path.read_bytes())
    except OSError as error:
        problem = f"EDGE_SYSTEM_PROMPTS_FILE cannot be read: {error.strerror}"
        raise StartupError([problem]) from error
    except ValueError as error:
        raise StartupError([f"EDGE_SYSTEM_PROMPTS_FILE holds no JSON: {error}"]) from error
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise StartupError(["EDGE_SYSTEM_PROMPTS_FILE: expected a JSON list of texts, none empty"])
    return tuple(texts)


def preload(
    engine: Engine, tokenizer: Tokenizer, texts: Iterable[str], *, kv_limit_bytes: int
) -> int:
    """Run what every chat under each of `texts` begins with; returns how many tokens.

    One that the model or the memory has no room for is left out, and the log says so.
    """
    left_bytes, tokens = kv_limit_bytes, 0
    for number, text in enumerate(texts):
        try:
            head = _head(tokenizer, text)
            needed_bytes = len(head) * engine.limits.kv_bytes_per_token
            if len(head) >= engine.limits.context_length or needed_bytes > left_bytes:
                raise InvalidRequest(f"its {len(head)} tokens do not fit")
            engine.preload(head)
        except (InvalidRequest, EngineFailed) as error:
            extra = {"number": number, "reason": str(error)}
            _log.warning("a system prompt is not kept ready", extra=extra)
            continue
        left_bytes -= needed_bytes
        tokens += len(head)
    return tokens


def _head(tokenizer: Tokenizer, text: str) -> Ids:
    """Ids that every chat under the system prompt `text` begins with, int32, shape (tokens,)."""
    first, second = (
        tokenizer.encode(
            tokenizer.apply_chat_template([Message("system", text), Message("user", turn)]),
            is_chat=True,
        )
        for turn in _TURNS
    )
    return first[: common(first, second)]
