"""Token log-probabilities in the shapes of OpenAI's two operations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from edge.generation import TokenLogprob

# OpenAI's value for a token that is very unlikely; JSON has no minus infinity.
FLOOR = -9999.0


def chat(tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
    """`{"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}`."""
    content = [
        {
            **_entry(token.text, token.raw, token.logprob),
            "top_logprobs": [_entry(text, raw, logprob) for _, text, raw, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def completion(tokens: Iterable[TokenLogprob], *, alternatives: bool) -> dict[str, Any]:
    """Parallel lists `tokens`, `token_logprobs`, `top_logprobs` and `text_offset` (characters).

    With `alternatives` (`logprobs` above 0) `top_logprobs` holds an object a token, the chosen
    one included; without it is null. The first token of an echoed prompt has no log-probability.
    """
    tokens = list(tokens)
    return {
        "tokens": [_name(token.text, token.raw) for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [_alternatives(token) for token in tokens] if alternatives else None,
        "text_offset": [token.offset for token in tokens],
    }


def _entry(text: str, raw: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": _finite(logprob), "bytes": list(raw)}


def _alternatives(token: TokenLogprob) -> dict[str, float | None] | None:
    if token.logprob is None:
        return None
    listed = {_name(text, raw): _finite(logprob) for _, text, raw, logprob in token.top}
    return {**listed, _name(token.text, token.raw): _finite(token.logprob)}


def _name(text: str, raw: bytes) -> str:
    """The token's text, or `bytes:\\xe2\\x82` where it holds only a part of a character."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
    return text


def _finite(logprob: float | None) -> float | None:
    if logprob is None:
        return None
    return max(logprob, FLOOR) if math.isfinite(logprob) else FLOOR
