"""Models whose rows cannot share a call: each row has the library's own cache, and its own calls.

State-space models keep no keys and values but a state, and some models compute attention in a way
of their own. They are run as `generate` runs them, one row after the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from edge.engine.pipeline.runner import Piece, numbers
from edge.engine.sampling import Logits

# The names under which models take their cache.
_CACHES = ("past_key_values", "cache_params")
_FEW = 4


class SoloRunner:
    """Runs each piece in a call of its own, on the cache of its row."""

    name = "one row a call"

    def __init__(self, model: Any, *, reads_chunks: bool) -> None:
        """Without `reads_chunks` a prompt comes in one call, whatever its length."""
        self._model = model
        self.reads_chunks = reads_chunks
        parameters = inspect.signature(model.forward).parameters
        self._cache = next(name for name in _CACHES if name in parameters)
        self._takes_positions = "position_ids" in parameters

    @property
    def token_bytes(self) -> int:
        """What a token adds to a cache, in bytes; 0 where a row's state does not grow."""
        sizes = []
        for tokens in (_FEW, 2 * _FEW):
            memory = self.room(tokens)
            self.run([Piece(memory, np.zeros(tokens, dtype=np.int32), 0)])
            sizes.append(_held_bytes(memory))
        return (sizes[1] - sizes[0]) // _FEW

    def room(self, capacity: int) -> Any:
        """The library's cache for this model; it grows as tokens come."""
        return DynamicCache(config=self._model.config.get_text_config(decoder=True))

    def groups(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """Each by itself."""
        return [[piece] for piece in pieces]

    def run(self, pieces: Sequence[Piece]) -> list[Logits]:
        """The logits of each piece, float32 (kept, vocab)."""
        with torch.inference_mode():
            return [self._run(piece) for piece in pieces]

    def interrupt(self) -> None:
        """Nothing: a state that has moved half the way could not go back."""

    def resume(self) -> None:
        """Nothing: no call was ended."""

    def _run(self, piece: Piece) -> Logits:
        positions = np.arange(piece.past, piece.past + len(piece.ids))
        places = {"position_ids": self._tensor(positions)} if self._takes_positions else {}
        out = self._model(
            input_ids=self._tensor(piece.ids),
            use_cache=True,
            **{self._cache: piece.memory},
            **places,
        )
        return numbers(out.logits[0, -piece.kept :])

    def _tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.int64))[None].to(self._model.device)


def _held_bytes(cache: Any) -> int:
    """Bytes of the keys and values that a cache holds."""
    tensors = [
        tensor
        for layer in cache.layers
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
        if tensor is not None
    ]
    return sum(tensor.numel() * int(tensor.element_size()) for tensor in tensors)
