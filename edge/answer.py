"""One request in flight: turns the scheduler's events into deltas, and accounts for the end."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edge.calls import CallReader, Reading
from edge.engine.base import Choice
from edge.engine.tokenizer import Tokenizer
from edge.errors import Cancelled, DeadlineExceeded, EdgeError, EngineFailed
from edge.generation import Delta, Finish, Request, TokenLogprob, Usage
from edge.scheduler.ticket import Event, Outbox, Ticket
from edge.text import Assembler, Marker, Piece

# The scheduler ends what is over its deadline at its next step; a caller waits this long for that.
_GRACE_S = 5.0
_NOTHING_READ = Reading()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended, for the metrics and the log. Seconds are monotonic durations."""

    request: Request
    finish: Finish
    error: EdgeError | None
    usage: Usage
    duration_s: float
    queue_s: float
    ttft_s: float | None
    prefill_s: float | None
    decode_s: float | None
    was_opened: bool
    texts: tuple[str, ...]


class Answering:
    """The text of one choice as it grows."""

    def __init__(self, ticket: Ticket, tokenizer: Tokenizer, request: Request) -> None:
        self.ticket = ticket
        self.text, self._calls = _readers(tokenizer, request)
        self.tokens = 0
        self.is_ended = False  # by a token of the model's own
        self.finish: Finish | None = None
        self._tokenizer = tokenizer
        self._prompt_scores: list[Choice] = []
        self._echo = request.echo
        self._offset = 0

    @property
    def said(self) -> str:
        """The text shown so far, and calls as the model wrote them."""
        return self.text.text + (self._calls.raw if self._calls else "")

    def take(self, event: Event) -> Iterator[Delta]:
        """The deltas that follow from an event of this choice."""
        self._prompt_scores += event.prompt_choices
        if self._echo and (event.choice or event.finish):
            self._echo = False
            yield self._echoed()
        if event.choice is not None:
            yield from self._extend(event.choice)
        elif event.finish is not None:
            piece = self._behind_echo(self.text.finish())
            self.is_ended = event.finish is Finish.STOP
            rest = self._calls.finish() if self._calls and self.is_ended else _NOTHING_READ
            is_called = self.is_ended and self._calls is not None and self._calls.count > 0
            self.finish = Finish.TOOL_CALLS if is_called else event.finish
            yield self._delta(piece, self.finish, rest)

    def _extend(self, choice: Choice) -> Iterator[Delta]:
        self.tokens += 1
        scored = self._scored(choice, self.text.length)
        piece = self._behind_echo(self.text.push(choice.token, scored))
        if self.text.is_stopped:
            self.finish = Finish.STOP
            self.ticket.stop()
            yield self._delta(piece, Finish.STOP)
        else:
            read = self._calls.read(piece.beyond) if self._calls and piece.beyond else _NOTHING_READ
            if piece.text or piece.logprobs or read.text or read.calls:
                yield self._delta(piece, None, read)

    def _echoed(self) -> Delta:
        text = self._tokenizer.decode([int(token) for token in self.ticket.prompt])
        stream, offset, scores = self._tokenizer.stream(), 0, []
        for choice in self._prompt_scores:
            scores.append(self._scored(choice, offset, is_echo=True))
            offset += len(stream(choice.token))
        self._offset = len(text)
        return self._delta(Piece(text, tuple(score for score in scores if score)), None)

    def _behind_echo(self, piece: Piece) -> Piece:
        """The same piece with offsets that count the echoed prompt."""
        if not self._offset:
            return piece
        scores = (replace(one, offset=one.offset + self._offset) for one in piece.logprobs)
        return replace(piece, logprobs=tuple(scores))

    def _delta(self, piece: Piece, finish: Finish | None, read: Reading = _NOTHING_READ) -> Delta:
        text = piece.text + read.text
        return Delta(self.ticket.index, text, piece.logprobs, finish, calls=read.calls)

    def _scored(self, choice: Choice, offset: int, is_echo: bool = False) -> TokenLogprob | None:
        if self.ticket.sampling.logprobs is None or (choice.logprob is None and not is_echo):
            return None
        name = self._tokenizer
        top = tuple(
            (token, name.decode([token]), name.token_bytes(token), logprob)
            for token, logprob in choice.top
        )
        text, raw = name.decode([choice.token]), name.token_bytes(choice.token)
        return TokenLogprob(choice.token, text, raw, choice.logprob, top, offset)


def _readers(tokenizer: Tokenizer, request: Request) -> tuple[Assembler, CallReader | None]:
    """What reads the words of a choice, and what reads its calls where there may be some."""
    use = request.tool_use
    if use is None:
        return Assembler(tokenizer.stream(), tokenizer.decode, request.stop), None
    form = tokenizer.tool_format
    # Beside a format for the words a call is told by how the answer begins: a marker further on
    # is a part of some JSON string.
    marker = Marker(form.marker, form.is_leading or request.sampling.guidance is not None)
    stream = tokenizer.stream(shows_markers=True)
    reader = CallReader(form, [tool.name for tool in use.tools])
    return Assembler(stream, tokenizer.decode, request.stop, marker), reader


class Generation:
    """A request that was let in. Iterate once; `close` in any case."""

    def __init__(
        self,
        request: Request,
        tickets: list[Ticket],
        outbox: Outbox,
        tokenizer: Tokenizer,
        on_end: Callable[[Outcome], None],
    ) -> None:
        """`on_end` is called exactly once, when the answer is complete or given up."""
        self.request = request
        self.prompt_tokens = sum(len(ticket.prompt) for ticket in tickets[:: request.n])
        self._tickets = tickets
        self._outbox = outbox
        self._choices = [Answering(ticket, tokenizer, request) for ticket in tickets]
        self._on_end = on_end
        self._started_s = tickets[0].times.admitted_s
        self._first_token_s: float | None = None
        self._is_open = True

    def __iter__(self) -> Iterator[Delta]:
        """The deltas of every choice as they come, and one with the usage at the end.

        Raises `DeadlineExceeded`, `Cancelled`, `EngineFailed` or `Draining` midway.
        """
        try:
            yield from self._deltas()
            yield Delta(0, usage=self.usage)
        except EdgeError as error:
            self._end(error)
            raise
        except GeneratorExit:
            self.close()
            raise
        finally:
            self.cancel()
            # Reached with choices open only by an exception that nobody foresaw.
            self._end(None if self._is_complete else EngineFailed("the answer broke off"))

    @property
    def usage(self) -> Usage:
        """The token counts so far; the prompt of several choices counts once."""
        cached = sum(ticket.cached for ticket in self._tickets[:: self.request.n])
        said = sum(choice.tokens for choice in self._choices)
        return Usage(self.prompt_tokens, said, cached)

    @property
    def usage_by_prompt(self) -> tuple[Usage, ...]:
        """The token counts so far of each prompt, with the token that ended an answer.

        As transformers counts a sequence; `usage` is what a caller reads, as OpenAI counts it.
        """
        n = self.request.n
        return tuple(
            Usage(
                len(self._tickets[first].prompt),
                sum(one.tokens + one.is_ended for one in self._choices[first : first + n]),
                self._tickets[first].cached,
            )
            for first in range(0, len(self._tickets), n)
        )

    def cancel(self) -> None:
        """Stop the sequences within one step. Safe from any thread; idempotent."""
        for ticket in self._tickets:
            ticket.cancel()

    def close(self) -> None:
        """Give up what has not ended yet and account for the request. Idempotent."""
        self.cancel()
        self._end(None if self._is_complete else Cancelled("the caller left"))

    @property
    def _is_complete(self) -> bool:
        return all(choice.finish for choice in self._choices)

    def _deltas(self) -> Iterator[Delta]:
        open_choices = {choice.ticket.index: choice for choice in self._choices}
        while open_choices:
            event = self._next_event()
            choice = open_choices.get(event.ticket.index)
            if choice is None:
                continue
            if event.error is not None:
                raise event.error
            if event.finish is Finish.CANCELLED:
                raise Cancelled("the caller left")
            if event.choice is not None and self._first_token_s is None:
                self._first_token_s = time.monotonic()
            yield from choice.take(event)
            if choice.finish is not None:
                del open_choices[event.ticket.index]

    def _next_event(self) -> Event:
        left_s = self._tickets[0].deadline_s - time.monotonic()
        try:
            return self._outbox.get(timeout=max(0.0, left_s))
        except queue.Empty:
            return self._last_event()

    def _last_event(self) -> Event:
        """The time is over: ends the model call of a prompt, so that the scheduler can say so."""
        for ticket in self._tickets:
            ticket.interrupt()
        try:
            return self._outbox.get(timeout=_GRACE_S)
        except queue.Empty:
            raise DeadlineExceeded("the time limit of this request ran out") from None

    def _end(self, error: EdgeError | None) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if error is not None:
            error.is_recorded = True
        self._on_end(self._outcome(error))

    def _outcome(self, error: EdgeError | None) -> Outcome:
        now_s = time.monotonic()
        opened_s = _earliest([ticket.times.opened_s for ticket in self._tickets])
        prefilled_s = _earliest([ticket.times.prefilled_s for ticket in self._tickets])
        first_s = self._first_token_s
        return Outcome(
            request=self.request,
            finish=self._finish(error),
            error=error,
            usage=self.usage,
            duration_s=now_s - self._started_s,
            queue_s=(opened_s or now_s) - self._started_s,
            ttft_s=first_s - self._started_s if first_s else None,
            prefill_s=prefilled_s - opened_s if prefilled_s and opened_s else None,
            decode_s=now_s - prefilled_s if prefilled_s else None,
            was_opened=opened_s is not None,
            texts=tuple(choice.said for choice in self._choices),
        )

    def _finish(self, error: EdgeError | None) -> Finish:
        if isinstance(error, Cancelled):
            return Finish.CANCELLED
        if error is not None:
            return Finish.ERROR
        finishes = {choice.finish for choice in self._choices}
        order = (Finish.LENGTH, Finish.TOOL_CALLS)
        return next((finish for finish in order if finish in finishes), Finish.STOP)


def _earliest(moments: list[float]) -> float | None:
    return min((moment for moment in moments if moment), default=None)
