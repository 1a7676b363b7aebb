"""Bounded admission: where callers hand their tickets to the scheduler's thread."""

from __future__ import annotations

import threading
from collections import deque

from edge.errors import Draining, QueueFull
from edge.scheduler.ticket import Ticket


class Queue:
    """First come, first served, with a bound. Safe to use from many threads."""

    def __init__(self, limit: int) -> None:
        """`limit` tickets may wait; a request for more is still taken when nobody waits."""
        self._limit = limit
        self._waiting: deque[Ticket] = deque()
        self._free = 0
        self._changed = threading.Condition()
        self._is_draining = False
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, tickets: list[Ticket], *, retry_after_s: float) -> None:
        """Queue all of `tickets` or none.

        Raises `QueueFull`, which carries `retry_after_s`, or `Draining`.
        """
        with self._changed:
            if self._is_draining:
                raise Draining("the appliance is shutting down", retry_after_s=retry_after_s)
            excess = len(self._waiting) + len(tickets) - self._free
            if excess > self._limit and (self._waiting or self._free <= 0):
                raise QueueFull(
                    f"{len(self._waiting)} sequences wait already and {self._limit} may",
                    retry_after_s=retry_after_s,
                )
            self._waiting.extend(tickets)
            self._changed.notify()

    def offer(self, free: int) -> None:
        """Tell how many slots stand empty: tickets for those do not count as waiting."""
        with self._changed:
            self._free = free

    def peek(self) -> Ticket | None:
        """The ticket that is next, left in place."""
        if not self._waiting:  # the usual case, asked before every token: no lock for it
            return None
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def take(self) -> Ticket:
        """Remove and return the ticket that is next; it takes one of the free slots."""
        with self._changed:
            self._free = max(0, self._free - 1)
            return self._waiting.popleft()

    def sweep(self, now_s: float) -> list[Ticket]:
        """Remove and return the tickets that were cancelled or whose deadline has passed."""
        if not self._waiting:
            return []
        with self._changed:
            gone = [t for t in self._waiting if t.is_cancelled or t.deadline_s <= now_s]
            for ticket in gone:
                self._waiting.remove(ticket)
            return gone

    def wait(self) -> bool:
        """Block until there is a ticket; False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return not self._is_closed

    def drain(self) -> None:
        """Refuse new tickets from now on; those that wait are still served."""
        with self._changed:
            self._is_draining = True

    def close(self) -> None:
        """Refuse new tickets and wake the scheduler's thread so that it ends."""
        with self._changed:
            self._is_draining = self._is_closed = True
            self._changed.notify()
