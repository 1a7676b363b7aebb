"""From token ids to text: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.generation import TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that may be shown, and the log-probabilities of the tokens it came from."""

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


class Assembler:
    """Builds the text of one choice, token by token.

    What could be the start of a stop string is held back until it is clear that it is none.
    """

    def __init__(
        self,
        stream: Callable[[int], str],
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str],
    ) -> None:
        """`stream` decodes one id at a time, `decode` a whole sequence."""
        self._stream = stream
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._pieces: list[str] = []
        self._shown = 0
        self._tail = ""
        self._held: list[tuple[int, TokenLogprob]] = []
        self.is_stopped = False

    @property
    def length(self) -> int:
        """Characters decoded so far, those held back included: the offset of the next token."""
        return self._shown + len(self._tail)

    @property
    def text(self) -> str:
        """The text shown so far."""
        return "".join(self._pieces)

    def push(self, token: int, logprob: TokenLogprob | None = None) -> Piece:
        """Add a token; returns what may be shown now. Sets `is_stopped` at a stop string."""
        self._ids.append(token)
        if logprob is not None:
            # By the place in this text: `logprob.offset` may count an echoed prompt too.
            self._held.append((self.length, logprob))
        return self._extend(self._stream(token))

    def finish(self) -> Piece:
        """End the text: what was held back is shown, broken UTF-8 at the end as U+FFFD."""
        if self.is_stopped:
            return Piece()
        piece = Piece()
        decoded = self.text + self._tail
        whole = self._decode(self._ids) if self._ids else ""
        if len(whole) > len(decoded) and whole.startswith(decoded):
            piece = self._extend(whole[len(decoded) :])
        return piece if self.is_stopped else _joined(piece, self._show(len(self._tail), True))

    def _extend(self, new: str) -> Piece:
        self._tail += new
        end = min((at for stop in self._stops if (at := self._tail.find(stop)) >= 0), default=None)
        if end is None:
            return self._show(len(self._tail) - self._pending())
        self.is_stopped = True
        return self._show(end)

    def _pending(self) -> int:
        """Length of the longest end of the tail that a stop string starts with."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(self._tail)), longest, -1):
                if self._tail.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _show(self, size: int, is_last: bool = False) -> Piece:
        """Release `size` characters and the tokens that began before; all where `is_last`."""
        text, self._tail = self._tail[:size], self._tail[size:]
        self._pieces.append(text)
        self._shown += size
        # A token that starts at the end has shown nothing yet: half a character, which may turn
        # out to belong to a stop string.
        ready = [entry for start, entry in self._held if is_last or start < self._shown]
        self._held = self._held[len(ready) :]
        return Piece(text, tuple(ready))


def _joined(first: Piece, second: Piece) -> Piece:
    return Piece(first.text + second.text, first.logprobs + second.logprobs)
