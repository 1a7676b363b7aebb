"""The caller's handle: cancelling is idempotent and remembers when."""

from __future__ import annotations

import queue
import time

import numpy as np

from edge.generation import Finish, Sampling
from edge.scheduler.ticket import Event, Ticket


def ticket():
    ids = np.array([1], dtype=np.int32)
    return Ticket(0, ids, 4, Sampling(), time.monotonic() + 9, queue.SimpleQueue())


def test_a_new_ticket_has_been_admitted_and_nothing_else():
    before = time.monotonic()
    times = ticket().times
    assert before <= times.admitted_s <= time.monotonic()
    assert (times.opened_s, times.prefilled_s, times.ended_s, times.cancelled_s) == (0, 0, 0, 0)


def test_cancel_keeps_the_first_moment():
    one = ticket()
    assert not one.is_cancelled
    one.cancel()
    first_s = one.times.cancelled_s
    one.cancel()
    assert one.is_cancelled
    assert one.times.cancelled_s == first_s > 0


def test_tickets_are_themselves_and_not_their_values():
    """They sit in lists by identity; comparing prompts as arrays would fail."""
    first, second = ticket(), ticket()
    assert first != second
    assert [first, second].index(second) == 1


def test_an_event_knows_its_ticket():
    one = ticket()
    event = Event(one, finish=Finish.STOP)
    assert event.ticket is one
    assert (event.choice, event.prompt_choices, event.error) == (None, (), None)


def test_a_stop_is_no_departure():
    one = ticket()
    one.stop()
    one.cancel()
    assert one.is_cancelled
    assert one.times.cancelled_s == 0
