"""From token ids to text: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge.generation import TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that may be shown, and the log-probabilities of the tokens it came from.

    `beyond` is text from the marker on, with the whitespace before it; it is not shown.
    """

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    beyond: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """A string at which the text gives way to something else: tool calls.

    With `is_leading` it counts only where the text begins with it.
    """

    text: str
    is_leading: bool = False


class Assembler:
    """Builds the text of one choice, token by token.

    What could be the start of a stop string, or of the marker, is held back until it is clear that
    it is none. Stop strings end what comes before the marker, and nothing beyond it.
    """

    def __init__(
        self,
        stream: Callable[[int], str],
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str],
        marker: Marker | None = None,
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
        self._marker = marker
        self.is_stopped = False
        self.is_marked = False

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
        if self.is_marked:
            return Piece(beyond=self._stream(token))
        self._ids.append(token)
        if logprob is not None:
            # By the place in this text: `logprob.offset` may count an echoed prompt too.
            self._held.append((self.length, logprob))
        return self._extend(self._stream(token))

    def finish(self) -> Piece:
        """End the text: what was held back is shown, broken UTF-8 at the end as U+FFFD."""
        if self.is_stopped or self.is_marked:
            return Piece()
        self._marker = None
        piece = Piece()
        decoded = self.text + self._tail
        whole = self._decode(self._ids) if self._ids else ""
        if len(whole) > len(decoded) and whole.startswith(decoded):
            piece = self._extend(whole[len(decoded) :])
        else:
            # Stop strings within what could have become the marker.
            piece = self._extend("")
        return piece if self.is_stopped else _joined(piece, self._show(len(self._tail), True))

    def _extend(self, new: str) -> Piece:
        self._tail += new
        edge, is_marked = self._marked()
        content = self._tail[:edge].rstrip() if is_marked else self._tail[:edge]
        end = _first(self._stops, content)
        if end is not None:
            self.is_stopped = True
            return self._show(end)
        if not is_marked:
            # A stop string may reach into what could become the marker, and end it if it does not.
            crossing = _first(self._stops, self._tail)
            held = edge if crossing is None else min(edge, crossing)
            return self._show(min(held, len(self._tail) - self._pending()))
        self.is_marked = True
        beyond = self._tail[len(content) :]
        self._tail = content
        return replace(self._show(len(content)), beyond=beyond)

    def _marked(self) -> tuple[int, bool]:
        """Where the marker stands in the tail, or could come to stand, and whether it does."""
        marker, tail = self._marker, self._tail
        if marker is None:
            return len(tail), False
        if marker.is_leading:
            if self._shown == 0 and tail.startswith(marker.text):
                return 0, True
            could_be = self._shown == 0 and marker.text.startswith(tail)
            return 0 if could_be else len(tail), False
        at = tail.find(marker.text)
        if at >= 0:
            return at, True
        sizes = range(min(len(marker.text) - 1, len(tail)), 0, -1)
        size = next((size for size in sizes if tail.endswith(marker.text[:size])), 0)
        return len(tail[: len(tail) - size].rstrip()), False

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


def _first(stops: Sequence[str], text: str) -> int | None:
    """Where the first stop string begins that `text` holds."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def _joined(first: Piece, second: Piece) -> Piece:
    return Piece(first.text + second.text, first.logprobs + second.logprobs)
