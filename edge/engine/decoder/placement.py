"""Which row lies in which slot of the arena.

Rows that decode lie in the slots from 0 on, those of one adapter side by side, since they share a
run; those whose prompt is still coming in lie behind them. When a row leaves, the last one of its
kind moves into its place. What it has seen is kept as a prefix: a
prompt takes over what it shares with a kept sequence or with another row of its adapter.
"""

from __future__ import annotations

import itertools

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
        """Put `row`, whose prompt is in by now, next to those of its adapter that decode.

        The row that lay behind them has not begun, or it would have been finished first. Each
        group of another adapter in between makes room: its first row becomes its last.
        """
        before = self.decoding
        before.remove(row)
        self._fill(len(before), row.slot)
        groups = _groups(before)
        own = next((n for n, group in enumerate(groups) if row.adapter == group[0].adapter), None)
        if own is not None:
            for group in reversed(groups[own + 1 :]):
                self._swap(group[0], row)

    def remove(self, row: DecoderRow, *, is_pinned: bool = False) -> None:
        """Keep what `row` has seen, and give its slot to the last ones. Again does nothing."""
        if row not in self.rows:
            return
        gap = row.slot
        self.prefixes.add(row.seen, gap, is_pinned=is_pinned, adapter=row.adapter)
        if not row.is_prefilling:
            for end in [group[-1].slot for group in _groups(self.decoding)]:
                gap = self._fill(gap, end) if end > gap else gap
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

    def _swap(self, one: DecoderRow, other: DecoderRow) -> None:
        self._arena.swap(one.slot, other.slot, max(one.length, other.length))
        one.slot, other.slot = other.slot, one.slot
        self.rows[one.slot], self.rows[other.slot] = one, other


def _groups(rows: list[DecoderRow]) -> list[list[DecoderRow]]:
    """Neighbours of one adapter, by slot."""
    return [list(group) for _, group in itertools.groupby(rows, key=lambda row: row.adapter)]
