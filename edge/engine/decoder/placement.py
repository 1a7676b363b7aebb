"""Which row lies in which slot of the arena.

Rows that decode lie in the slots from 0 on, those whose prompt is still coming in behind them. When
a row leaves, the last one of its kind moves into its place. What it has seen is kept as a prefix: a
prompt takes over what it shares with a kept sequence or with another row of its adapter.
"""

from __future__ import annotations

from edge.engine.base import common
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.prefixes import LEAST_TOKENS, Prefixes
from edge.engine.decoder.row import DecoderRow


class Placement:
    """The rows by slot, and the prefixes behind them."""

    def __init__(self, arena: Arena, slots: int) -> None:
        """`slots` rows at most; what else the arena holds is for prefixes."""
        self.rows: list[DecoderRow] = []
        self.prefixes = Prefixes(arena, slots)
        self._arena = arena
        self._slots = slots

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return len(self.rows) == self._slots

    @property
    def decoding(self) -> list[DecoderRow]:
        """The rows whose prompt is in, by slot."""
        return [row for row in self.rows if not row.is_prefilling]

    def add(self, row: DecoderRow) -> None:
        """Give `row` the next slot; its pages are committed as tokens come."""
        row.slot = len(self.rows)
        self.rows.append(row)

    def start(self, row: DecoderRow) -> int:
        """Begin `row` with what a prefix or another row has of its prompt; returns how much."""
        if row.echo >= 0:
            return 0  # each of its tokens must be scored
        prefix, kept = self.prefixes.find(row.prompt, row.adapter)
        same = [other for other in self.rows if other.adapter == row.adapter]
        alike = {common(other.seen, row.prompt): other for other in same}
        running = max(alike)
        # One token at least is left: the logits after it choose the first of the answer.
        shared = min(max(kept, running), len(row.prompt) - 1)
        if shared < LEAST_TOKENS:
            return 0
        if prefix is not None and kept >= running:
            self.prefixes.give(prefix, row.slot, shared)
        else:
            self._arena.copy(alike[running].slot, row.slot, shared)
        row.length = shared
        return shared

    def promote(self, row: DecoderRow) -> None:
        """Put `row`, whose prompt is in by now, next to those that decode.

        The row that lay there has not begun, or it would have been finished first.
        """
        self._fill(len(self.decoding) - 1, row.slot)

    def remove(self, row: DecoderRow, *, is_pinned: bool = False) -> None:
        """Keep what `row` has seen, and give its slot to the last ones. Again does nothing."""
        if row not in self.rows:
            return
        gap = row.slot
        self.prefixes.add(row.seen, gap, is_pinned=is_pinned, adapter=row.adapter)
        if not row.is_prefilling:
            gap = self._fill(gap, self.decoding[-1].slot)
        self._fill(gap, len(self.rows) - 1)
        self.rows.pop()

    def _fill(self, gap: int, last: int) -> int:
        """Move the row of slot `last` to `gap`; returns the slot that is free then."""
        if gap == last:
            return gap
        mover, leaver = self.rows[last], self.rows[gap]
        self._arena.move(last, gap, mover.length)
        mover.slot, leaver.slot = gap, last
        self.rows[gap], self.rows[last] = mover, leaver
        return last
