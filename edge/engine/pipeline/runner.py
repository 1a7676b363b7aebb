"""What runs pieces of rows through the model: the protocol, and the packed way of doing it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch

from edge.engine.base import Ids
from edge.engine.pipeline import packed
from edge.engine.pipeline.memory import KvShape, RowMemory
from edge.engine.pipeline.packed import Packed, Segment
from edge.engine.sampling import Logits


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one row that come next; `past` of it are in its memory already.

    With `keeps_all` the logits of every token are wanted, else those of the last one.
    """

    memory: Any
    ids: Ids
    past: int
    keeps_all: bool = False

    @property
    def kept(self) -> int:
        """How many logits are wanted."""
        return len(self.ids) if self.keeps_all else 1


class Runner(Protocol):
    """A loaded model that runs pieces of rows. Every method but `interrupt` has one caller."""

    @property
    def name(self) -> str:
        """How rows share calls, for the log."""

    @property
    def reads_chunks(self) -> bool:
        """Whether a prompt may come in several calls."""

    @property
    def token_bytes(self) -> int:
        """KV memory of one token, in bytes; 0 where that is not known."""

    def room(self, capacity: int) -> Any:
        """Memory for a row of `capacity` tokens. Raises `OSError` or `RuntimeError`."""

    def groups(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """The pieces that may share a call."""

    def run(self, pieces: Sequence[Piece]) -> list[Logits]:
        """The logits of each piece, float32 (kept, vocab); rows move on only if it returns.

        Raises `Interrupted`, and `RuntimeError` where torch does.
        """

    def interrupt(self) -> None:
        """End the call under way, or the next, if it can be ended. Any thread."""

    def resume(self) -> None:
        """Let calls run again after `interrupt`."""


class PackedRunner:
    """Runs the pieces of all rows in one forward call."""

    name = "packed"
    reads_chunks = True

    def __init__(self, model: Any, shape: KvShape) -> None:
        """`model` has the attention of `packed`; `shape` is that of its keys and values."""
        self._model = model
        self._shape = shape
        self._chooses = chooses_logits(model)
        self._interrupted = threading.Event()

    @property
    def token_bytes(self) -> int:
        """KV memory of one token, in bytes."""
        return self._shape.token_bytes

    def room(self, capacity: int) -> RowMemory:
        """Memory for a row of `capacity` tokens. Raises `OSError` or `RuntimeError`."""
        return RowMemory(self._shape, capacity)

    def groups(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """All of them."""
        return [list(pieces)]

    def run(self, pieces: Sequence[Piece], windows: frozenset[int] | None = None) -> list[Logits]:
        """The logits of each piece, float32 (kept, vocab); `windows` as for `Packed`."""
        segments = [Segment(piece.memory, piece.past, len(piece.ids)) for piece in pieces]
        cache = Packed(segments, self._interrupted.is_set, windows)
        with torch.inference_mode(), packed.running(cache):
            logits = self._forward(pieces, cache)
        edges = np.cumsum([piece.kept for piece in pieces])[:-1]
        return list(np.split(numbers(logits), edges))

    def interrupt(self) -> None:
        """End the call under way within the time of a layer. Any thread."""
        self._interrupted.set()

    def resume(self) -> None:
        """Let calls run again after `interrupt`."""
        self._interrupted.clear()

    def _forward(self, pieces: Sequence[Piece], cache: Packed) -> torch.Tensor:
        ids = np.concatenate([piece.ids for piece in pieces])
        positions = np.concatenate(
            [np.arange(piece.past, piece.past + len(piece.ids)) for piece in pieces]
        )
        kept = _kept(pieces)
        out = self._model(
            input_ids=self._tensor(ids)[None],
            position_ids=self._tensor(positions)[None],
            past_key_values=cache,
            use_cache=True,
            **({"logits_to_keep": self._tensor(kept)} if self._chooses else {}),
        )
        logits = out.logits[0]
        return cast(torch.Tensor, logits if self._chooses else logits[self._tensor(kept)])

    def _tensor(self, numbers: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self._shape.device)


def _kept(pieces: Sequence[Piece]) -> np.ndarray[Any, Any]:
    """Places in the packed sequence whose logits are wanted, int64."""
    ends = np.cumsum([len(piece.ids) for piece in pieces])
    return np.concatenate(
        [np.arange(end - piece.kept, end) for piece, end in zip(pieces, ends, strict=True)]
    )


def chooses_logits(model: Any) -> bool:
    """Whether the model can be asked for the logits of some tokens alone."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def numbers(logits: torch.Tensor) -> Logits:
    """Logits as numpy has them: float32, on the CPU."""
    return cast(Logits, logits.float().cpu().numpy())
