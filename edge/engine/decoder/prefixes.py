"""The prefix cache: sequences that have ended, kept with their keys and values.

Each lies in an arena slot of its own behind those of the running rows. Keys and values depend on
the tokens before them and on the adapter alone, so that a prompt that begins like a kept sequence
of its adapter needs no work for as long as both agree. The one that was used longest ago goes
first when room is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.engine.base import Ids, common
from edge.engine.decoder.arena import Arena

# Shorter ones save less than they cost to copy.
LEAST_TOKENS = 16
_LOST_SHARE = 8


@dataclass(slots=True, eq=False)
class Prefix:
    """Tokens (int32, shape (tokens,)) whose keys and values, by `adapter`, lie in `slot`."""

    ids: Ids
    slot: int
    is_pinned: bool = False
    adapter: str = ""

    def shared(self, ids: Ids, adapter: str) -> int:
        """How many of `ids` have their keys and values here."""
        return common(self.ids, ids) if adapter == self.adapter else 0


class Prefixes:
    """What is kept in the slots of `arena` from `first_slot` on."""

    def __init__(self, arena: Arena, first_slot: int) -> None:
        self._arena = arena
        self._free = list(range(first_slot, arena.slots))
        self._kept: list[Prefix] = []  # the one used last is the last

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def tokens(self) -> int:
        """Tokens kept in all."""
        return sum(len(prefix.ids) for prefix in self._kept)

    def find(self, prompt: Ids, adapter: str = "") -> tuple[Prefix | None, int]:
        """The kept sequence that begins like `prompt` for longest, and for how many tokens."""
        best, most = None, 0
        for prefix in self._kept:
            shared = prefix.shared(prompt, adapter)
            if shared > most:
                best, most = prefix, shared
        return best, most

    def add(self, ids: Ids, slot: int, *, is_pinned: bool = False, adapter: str = "") -> None:
        """Keep the row of `ids` in `slot`, and leave that slot empty."""
        known = next((p for p in self._kept if p.shared(ids, adapter) == len(ids)), None)
        if known is not None:
            known.is_pinned |= is_pinned
            self._touch(known)
        elif len(ids) >= LEAST_TOKENS and self._make_room(ids, adapter):
            place = self._free.pop()
            self._arena.move(slot, place, len(ids))
            self._kept.append(Prefix(ids.copy(), place, is_pinned, adapter))
            return  # the move has left the slot empty
        self._arena.release(slot)

    def give(self, prefix: Prefix, slot: int, tokens: int) -> None:
        """Put the first `tokens` of `prefix` into the empty `slot`.

        A prefix that goes on in that row as a whole, or but for a little, moves there: it comes
        back with the row, and what is lost costs less to compute than the rest to copy.
        """
        lost = len(prefix.ids) - tokens
        if lost * _LOST_SHARE <= len(prefix.ids) and not prefix.is_pinned:
            self._arena.move(prefix.slot, slot, tokens)
            self._forget(prefix)
        else:
            self._arena.copy(prefix.slot, slot, tokens)
            self._touch(prefix)

    def trim(self, most_tokens: int) -> None:
        """Let go of what was used longest ago until `most_tokens` are left, pinned ones last."""
        while self.tokens > most_tokens:
            self._drop(self._oldest())

    def _make_room(self, ids: Ids, adapter: str) -> bool:
        """Free a slot; what `ids` repeats goes first. False where nothing can be kept."""
        for prefix in list(self._kept):
            if not prefix.is_pinned and prefix.shared(ids, adapter) == len(prefix.ids):
                self._drop(prefix)
        if not self._free and any(not prefix.is_pinned for prefix in self._kept):
            self._drop(self._oldest())
        return bool(self._free)

    def _oldest(self) -> Prefix:
        return min(self._kept, key=lambda prefix: prefix.is_pinned)

    def _touch(self, prefix: Prefix) -> None:
        self._kept.remove(prefix)
        self._kept.append(prefix)

    def _drop(self, prefix: Prefix) -> None:
        self._arena.release(prefix.slot)
        self._forget(prefix)

    def _forget(self, prefix: Prefix) -> None:
        self._kept.remove(prefix)
        self._free.append(prefix.slot)
