"""Runs of the graph over the arena: some tokens of one row, or a token for many rows.

Bindings are kept: the KV tensors of the first B rows, or of one slot, never move, and no more do
the values of an adapter. What changes from run to run (ids, mask, logits) is bound anew, which
takes microseconds. Bindings of the base model have no adapter inputs: the graph's defaults hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.engine.base import Ids
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.graph import Graph
from edge.engine.ort import Binding, RunOptions, Session, Tensor

Logits = npt.NDArray[np.float32]
# By adapter and by the input of the graph that they stand for.
Adapters = Mapping[str, Mapping[str, npt.NDArray[np.generic]]]
_KEYS_AND_VALUES = 2
# An input with the default [-1], which some exports have: of which tokens to give the logits,
# counted from the end. They come one below the other, shape (rows * positions, 1, vocab).
POSITIONS = "logits_positions"


class Runs:
    """One arena, and a session at a time; used by the engine's thread alone, with two exceptions.

    Those are `interrupt` and `rethread`.
    """

    def __init__(
        self, session: Session, graph: Graph, arena: Arena, adapters: Adapters | None = None
    ) -> None:
        """`adapters` must fit the session's optional inputs; "" names the base model."""
        self._session = session
        self._adapters = {
            name: {port: Tensor.over(array) for port, array in tensors.items()}
            for name, tensors in {"": {}, **(adapters or {})}.items()
        }
        self._graph = graph
        self._arena = arena
        self._options = RunOptions()
        logits = next(port for port in session.outputs if port.name == graph.names.logits)
        self._is_pruned = logits.shape[1] == 1
        self._logits_type = logits.dtype or np.dtype(np.float32)
        self._chooses_logits = any(port.name == POSITIONS for port in session.optional)
        self._has_positions = any(p.name == graph.names.position_ids for p in session.inputs)
        self._binding = cache(self._make_binding)
        self._nothing = Tensor.over(np.empty(0, dtype=self._logits_type))
        self._mask = np.empty(arena.slots * (arena.shape.context + 1), dtype=np.int64)
        self._counter = np.arange(arena.shape.context + 1, dtype=np.int64)

    @property
    def can_verify(self) -> bool:
        """Whether the graph gives the logits of more than the last token."""
        return self._chooses_logits or not self._is_pruned

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters that a run may use, "" among them."""
        return frozenset(self._adapters)

    def prefill(self, slot: int, chunk: Ids, seen: int, adapter: str = "") -> Logits:
        """Run `chunk` (tokens,) of the row in `slot` that holds `seen` tokens already.

        Returns the logits after its last token, shape (vocab,), valid until the next run.
        """
        last: Logits = self._run_one(slot, chunk, seen, 1, adapter)[-1]
        return last

    def verify(self, slot: int, tokens: Ids, seen: int, adapter: str = "") -> Logits:
        """Run `tokens` (tokens,) of the row in `slot` that holds `seen` tokens already.

        Returns the logits after each, shape (tokens, vocab), valid until the next run. Only
        where `can_verify`.
        """
        return self._run_one(slot, tokens, seen, len(tokens), adapter)

    def decode(
        self,
        tokens: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        slot: int = 0,
        adapter: str = "",
    ) -> Logits:
        """Run a token for each row from `slot` on; they hold `lengths` (rows,) tokens already.

        Returns logits of shape (rows, vocab), valid until the next run.
        """
        binding = self._binding(slot, len(tokens), adapter)
        logits = self._run(binding, tokens.reshape(-1, 1), lengths + 1, 1)
        every: Logits = logits[:, 0]
        return every

    def interrupt(self) -> None:
        """End the run that is going on, from any thread; the next ones fail until `resume`."""
        self._options.terminate()

    def resume(self) -> None:
        """Let runs go on after an interrupt."""
        self._options.reset()

    def rethread(self, threads: int) -> None:
        """Load the graph anew with `threads` threads, for the runs to come. Raises `OrtError`.

        From any thread but the engine's, which goes on meanwhile. The KV cache is the arena's and
        stays; until the run under way has ended, memory holds the weights twice.
        """
        session = Session(self._graph.model, threads=threads, spin=self._session.spin)
        # In this order: a binding that is made in between is one of the new session. A run keeps
        # to its binding's, and the old one is freed when its last binding is.
        self._session = session
        self._binding = cache(self._make_binding)

    def close(self) -> None:
        """Release the session."""
        self._binding.cache_clear()
        self._session.close()

    def _run_one(self, slot: int, tokens: Ids, seen: int, kept: int, adapter: str) -> Logits:
        ids = np.ascontiguousarray(tokens, dtype=np.int64).reshape(1, -1)
        lengths = np.array([seen + len(tokens)])
        only: Logits = self._run(self._binding(slot, 1, adapter), ids, lengths, kept)[0]
        return only

    def _run(
        self,
        binding: Binding,
        ids: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        kept: int,
    ) -> Logits:
        """The logits of the last `kept` tokens of each row, shape (rows, kept, vocab)."""
        names, (rows, width) = self._graph.names, ids.shape
        total = int(lengths.max())
        mask = self._mask[: rows * total].reshape(rows, total)
        np.less(self._counter[:total], lengths[:, np.newaxis], out=mask, casting="unsafe")
        binding.input(names.input_ids, Tensor.over(ids))
        binding.input(names.attention_mask, Tensor.over(mask))
        if self._has_positions:
            positions = (lengths[:, np.newaxis] - width) + self._counter[:width]
            binding.input(names.position_ids, Tensor.over(np.ascontiguousarray(positions)))
        logits = self._bind_logits(binding, rows, width, kept)
        try:
            binding.session.run(binding, self._options)
        finally:
            # A binding lives on: a whole chunk's logits may take as much memory as the weights.
            binding.output(names.logits, self._nothing)
        by_row = logits.reshape(rows, -1, self._graph.vocab_size)
        # Only of graphs that give every token's logits there is more than was asked for.
        return by_row[:, -kept:].astype(np.float32, copy=by_row.shape[1] > kept)

    def _bind_logits(self, binding: Binding, rows: int, width: int, kept: int) -> npt.NDArray[Any]:
        shape = (rows, 1 if self._is_pruned else width, self._graph.vocab_size)
        if self._chooses_logits:
            binding.input(POSITIONS, Tensor.over(np.arange(-kept, 0, dtype=np.int64)))
            shape = (rows * kept, 1, self._graph.vocab_size)
        logits = np.empty(shape, dtype=self._logits_type)
        binding.output(self._graph.names.logits, Tensor.over(logits))
        return logits

    def _make_binding(self, slot: int, rows: int, adapter: str) -> Binding:
        """A binding of the KV cache of `rows` rows from `slot` on: past and present are one."""
        binding, shape = Binding(self._session), self._arena.shape
        dims = (rows, shape.kv_heads, shape.context, shape.head_size)
        for layer in range(shape.layers):
            for part in range(_KEYS_AND_VALUES):
                address = self._arena.address(layer, part, slot)
                kv = Tensor(address, rows * shape.slot_bytes, dims, np.dtype(shape.dtype))
                binding.input(self._graph.names.past[part] % layer, kv)
                binding.output(self._graph.names.present[part] % layer, kv)
        for name, tensor in self._adapters[adapter].items():
            binding.input(name, tensor)
        return binding
