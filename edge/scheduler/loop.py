"""The one thread that owns the engine. Its heartbeat is three verbs: choose, run, account."""

from __future__ import annotations

import functools
import logging
import threading
import time
from dataclasses import dataclass

from edge.engine.base import Engine, Row, Step
from edge.errors import DeadlineExceeded, Draining, EdgeError, EngineFailed
from edge.generation import Finish
from edge.metrics import Metrics
from edge.scheduler.queue import Queue
from edge.scheduler.ticket import Event, Ticket

_log = logging.getLogger(__name__)
_WEIGHT = 0.2
_RETRY_LEAST_S, _RETRY_MOST_S = 1.0, 120.0


@dataclass(slots=True, eq=False)
class Running:
    """A ticket and its row in the engine."""

    ticket: Ticket
    row: Row


class Loop:
    """Moves tickets from the queue through the engine until it is stopped."""

    def __init__(
        self, engine: Engine, queue: Queue, metrics: Metrics, *, slots: int, kv_limit_bytes: int
    ) -> None:
        """At most `slots` rows run together, on at most `kv_limit_bytes` of KV cache."""
        self._engine = engine
        self._queue = queue
        self._metrics = metrics
        self._slots = slots
        self._kv_limit_bytes = kv_limit_bytes
        self._running: list[Running] = []
        self._opening: Ticket | None = None
        self._abort: EdgeError | None = None
        self._fault: EdgeError | None = None
        self._seconds_per_sequence = 1.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        queue.offer(slots)

    @property
    def running(self) -> int:
        """Rows in the engine."""
        return len(self._running)

    @property
    def kv_used_bytes(self) -> int:
        """KV memory reserved by the rows in the engine."""
        return sum(item.row.kv_bytes for item in list(self._running))

    @property
    def retry_after_s(self) -> float:
        """When a place should be free: those ahead times the measured time of a sequence."""
        ahead = (len(self._queue) + self.running) / self._slots
        return min(_RETRY_MOST_S, max(_RETRY_LEAST_S, ahead * self._seconds_per_sequence))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def abort(self, reason: EdgeError) -> None:
        """End every sequence with `reason` at the next step. For use after `Queue.drain`."""
        self._abort = reason
        for item in list(self._running):
            self._engine.interrupt(item.row)

    def stop(self, timeout_s: float) -> None:
        """Close the queue and wait for the thread to end, at most `timeout_s` seconds."""
        self._queue.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._running or self._queue.wait():
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001 - a fault must not end every later request
                _log.exception("the engine's thread failed")
                self._blame(_wrapped(error))
        self._end_waiting(Draining("the appliance has shut down"))
        self._engine.shutdown()

    def _beat(self) -> None:
        self._choose()
        if self._running:
            batch = list(self._running)
            steps = self._engine.advance([item.row for item in batch])
            self._note(steps)
            for item, step in zip(batch, steps, strict=True):
                self._account(item, step)

    def _blame(self, error: EdgeError) -> None:
        """End the ticket that was being opened; else the next beat ends every row."""
        ticket, self._opening = self._opening, None
        if ticket is not None:
            self._end(ticket, Finish.ERROR, error)
        else:
            self._fault = error

    def _choose(self) -> None:
        if self._fault is not None:
            self._fail_all(self._fault)
            self._fault = None
        if self._abort is not None:
            self._fail_all(self._abort)
            self._end_waiting(self._abort)
        now_s = time.monotonic()
        for ticket in self._queue.sweep(now_s):
            self._end(ticket, *_reason(ticket))
        for item in list(self._running):
            if item.ticket.is_cancelled or item.ticket.deadline_s <= now_s:
                self._close(item, *_reason(item.ticket))
        while len(self._running) < self._slots and self._open_next():
            pass

    def _open_next(self) -> bool:
        ticket = self._queue.peek()
        if ticket is None or not self._fits(ticket):
            return False
        self._opening = self._queue.take()
        self._keep(self._needed(ticket))
        ticket.times.opened_s = time.monotonic()
        try:
            row = self._engine.open(
                ticket.prompt,
                ticket.max_tokens,
                ticket.sampling,
                constraint=ticket.constraint,
                echo_logprobs=ticket.echo_logprobs,
                adapter=ticket.adapter,
            )
        except EdgeError as error:
            self._blame(error)
            return True
        ticket.interrupt = functools.partial(self._engine.interrupt, row)
        self._running.append(Running(ticket, row))
        self._opening = None
        return True

    def _fits(self, ticket: Ticket) -> bool:
        used = self.kv_used_bytes + self._needed(ticket)
        return not self._running or used <= self._kv_limit_bytes

    def _needed(self, ticket: Ticket) -> int:
        tokens = len(ticket.prompt) + ticket.max_tokens
        return tokens * self._engine.limits.kv_bytes_per_token

    def _keep(self, needed_bytes: int = 0) -> None:
        """Let the engine cache in what the rows leave of the KV memory."""
        left = self._kv_limit_bytes - self.kv_used_bytes - needed_bytes
        self._engine.keep(max(0, left))

    def _note(self, steps: list[Step]) -> None:
        prefilled = sum(step.prefilled for step in steps)
        if prefilled:
            self._metrics.prompt_tokens.inc(prefilled)
        cached = sum(step.cached for step in steps)
        if cached:
            self._metrics.cached_tokens.inc(cached)
        decoded = sum(step.choice is not None and not step.prefilled for step in steps)
        if decoded:
            self._metrics.batch_size.observe(decoded)

    def _account(self, item: Running, step: Step) -> None:
        ticket = item.ticket
        ticket.prefilled += step.prefilled
        ticket.cached += step.cached
        if step.error is not None:
            self._close(item, Finish.ERROR, step.error)
            return
        if step.prompt_choices:
            ticket.outbox.put(Event(ticket, prompt_choices=step.prompt_choices))
        if step.choice is None:
            return
        ticket.times.prefilled_s = ticket.times.prefilled_s or time.monotonic()
        if ticket.max_tokens == 0:
            self._close(item, Finish.LENGTH)
            return
        self._metrics.generated_tokens.inc()
        if ticket.times.cancelled_s:
            self._metrics.discarded_tokens.inc()
        if step.choice.token in self._engine.limits.eos_ids:
            self._close(item, Finish.STOP)
            return
        ticket.tokens += 1
        ticket.outbox.put(Event(ticket, choice=step.choice))
        if ticket.tokens >= ticket.max_tokens:
            self._close(item, Finish.LENGTH)

    def _close(self, item: Running, finish: Finish, error: EdgeError | None = None) -> None:
        self._running.remove(item)
        spent_s = time.monotonic() - item.ticket.times.opened_s
        self._seconds_per_sequence += _WEIGHT * (spent_s - self._seconds_per_sequence)
        try:
            self._engine.close(item.row)
            self._keep()
        finally:
            self._end(item.ticket, finish, error)

    def _end(self, ticket: Ticket, finish: Finish, error: EdgeError | None = None) -> None:
        times = ticket.times
        times.ended_s = time.monotonic()
        if times.cancelled_s:
            self._metrics.cancel_latency.observe(times.ended_s - times.cancelled_s)
        self._metrics.sequence_ended(
            queue_s=(times.opened_s or times.ended_s) - times.admitted_s,
            prefill_s=times.prefilled_s - times.opened_s if times.prefilled_s else None,
            decode_s=times.ended_s - times.prefilled_s if times.prefilled_s else None,
        )
        # Before the news goes out: who answers it with a new request must find the slot free.
        self._queue.offer(self._slots - len(self._running))
        ticket.outbox.put(Event(ticket, finish=finish, error=error))

    def _fail_all(self, error: EdgeError) -> None:
        for item in list(self._running):
            self._close(item, Finish.ERROR, error)

    def _end_waiting(self, error: EdgeError) -> None:
        while self._queue.peek() is not None:
            self._end(self._queue.take(), Finish.ERROR, error)


def _reason(ticket: Ticket) -> tuple[Finish, EdgeError | None]:
    if ticket.is_cancelled:
        return Finish.CANCELLED, None
    return Finish.ERROR, DeadlineExceeded("the time limit of this request ran out")


def _wrapped(error: Exception) -> EdgeError:
    return error if isinstance(error, EdgeError) else EngineFailed("the engine failed")
