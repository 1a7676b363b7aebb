"""The tokens of several rows end to end in one forward call, each row on its own keys and values.

A transformers model asks three things of its surroundings: a cache for keys and values, a mask,
and an attention function. Here the cache writes each row's tokens behind those it has, there is
no mask, and attention runs row by row over what the row has: nothing is padded, and rows of any
length join and leave at any step. The model itself sees one sequence with given positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache

from edge.engine.pipeline import attention
from edge.engine.pipeline.memory import RowMemory

NAME = "phial_packed"
# What would change the result and is not computed here.
_UNKNOWN = ("s_aux", "position_bias", "cache", "indices")


class Misfit(Exception):
    """The model does something that the packed path does not; the message says what."""


class Interrupted(Exception):
    """The call was ended by `interrupt`; no row has moved."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`tokens` tokens of one row behind the `past` that its memory holds."""

    memory: RowMemory
    past: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a mask lets a token look, itself included; None for all the way."""

    window: int | None


class Packed(Cache):
    """The rows of one call, in the place of a `transformers` cache."""

    def __init__(
        self,
        segments: Sequence[Segment],
        is_interrupted: Callable[[], bool],
        windows: frozenset[int] | None = None,
    ) -> None:
        """`is_interrupted` is asked before every layer's attention.

        With `windows`, the sizes that the model's configuration names, every mask is checked
        to be what the attention function makes of it; raises `Misfit` where it is not."""
        super().__init__(layers=[])
        self.segments = tuple(segments)
        self.windows = windows
        self.layer = 0
        self.is_interrupted = is_interrupted
        self.masks: dict[tuple[int, int | None], torch.Tensor | None] = {}

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values (1, kv_heads, tokens, size) to the rows that they belong to."""
        self.layer = layer_idx
        start = 0
        for segment in self.segments:
            end = start + segment.tokens
            new = slice(segment.past, segment.past + segment.tokens)
            segment.memory.keys[layer_idx][:, new] = key_states[0, :, start:end]
            segment.memory.values[layer_idx][:, new] = value_states[0, :, start:end]
            start = end
        return key_states, value_states

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """No row's length: the mask that is asked for is not used."""
        return query_length, 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """No row's length: positions are given."""
        return 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """No row's length: positions are given."""
        return 0


_current: ContextVar[Packed] = ContextVar("packed")


@contextmanager
def running(packed: Packed) -> Iterator[None]:
    """What the model's attention layers work on inside, in this thread."""
    token = _current.set(packed)
    try:
        yield
    finally:
        _current.reset(token)


def register() -> None:
    """Make the attention known to transformers as `NAME`."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, no_mask)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Reach | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of queries (1, heads, tokens, size) row by row; (1, tokens, heads, size) out.

    Raises `Interrupted`, and `Misfit` while the model is being tried.
    """
    packed = _current.get()
    if packed.is_interrupted():
        raise Interrupted
    if packed.windows is not None:
        _check(module, attention_mask, sliding_window, others)
    keys, values = packed.layer, packed.layer
    out = query.new_empty((query.shape[2], query.shape[1], value.shape[-1]))
    start = 0
    for place, segment in enumerate(packed.segments):
        end, total = start + segment.tokens, segment.past + segment.tokens
        first = 0 if sliding_window is None else max(0, segment.past + 1 - sliding_window)
        out[start:end] = attention.of_row(
            query[0, :, start:end],
            segment.memory.keys[keys][:, first:total],
            segment.memory.values[values][:, first:total],
            _mask(packed, place, first, sliding_window, query.device),
            is_causal=segment.tokens > 1 and segment.past == 0 and _fits(total, sliding_window),
            scaling=scaling,
            softcap=softcap,
        )
        start = end
    return out[None], None


def no_mask(mask_function: Callable[..., torch.Tensor], **_: Any) -> Reach | None:
    """Nothing; while the model is being tried, what the mask that it asks for lets through."""
    packed = _current.get()
    if packed.windows is None:
        return None
    return Reach(_window(mask_function, packed.windows))


def _fits(total: int, window: int | None) -> bool:
    return window is None or total <= window


def _mask(
    packed: Packed, place: int, first: int, window: int | None, device: torch.device
) -> torch.Tensor | None:
    """True where a token of segment `place` may look, shape (tokens, keys); None for everywhere
    and for plain causality. Made once for all layers."""
    segment = packed.segments[place]
    total = segment.past + segment.tokens
    if segment.tokens == 1 or (segment.past == 0 and _fits(total, window)):
        return None
    if (place, window) not in packed.masks:
        queries = torch.arange(segment.past, total, device=device)[:, None]
        keys = torch.arange(first, total, device=device)[None]
        mask = keys <= queries
        packed.masks[place, window] = mask if window is None else mask & (keys > queries - window)
    return packed.masks[place, window]


def _check(
    module: torch.nn.Module, mask: Reach | None, window: int | None, others: dict[str, Any]
) -> None:
    if mask is None or mask.window != window:
        raise Misfit(f"a layer has a window of {window} and a mask of {mask and mask.window}")
    if others.get("is_causal", getattr(module, "is_causal", True)) is False:
        raise Misfit("a layer looks ahead")
    found = [name for name in _UNKNOWN if others.get(name) is not None]
    if found:
        raise Misfit(f"its attention takes {', '.join(found)}")


def _window(mask_function: Callable[..., torch.Tensor], windows: frozenset[int]) -> int | None:
    """The window of a mask, found by asking it around the edges that it could have."""
    edges = {edge + step for edge in (0, *windows) for step in (-2, -1, 0, 1)}
    far = 3 * max(windows, default=8) + 5
    distances = torch.tensor(sorted({*edges, far - 1}))
    for query in range(far, far + 3):
        queries = torch.full_like(distances, query)
        seen = mask_function(0, 0, queries, queries - distances)
        fitting = [
            window
            for window in (None, *windows)
            if torch.equal(seen, (distances >= 0) & (distances < (window or far + 3)))
        ]
        if not fitting:
            raise Misfit("a layer's mask is neither causal nor a sliding window")
    return fitting[0]
