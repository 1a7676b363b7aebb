"""Bounded admission: all or none, first come first served, room for the free slots."""

from __future__ import annotations

import queue as stdlib_queue
import threading
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import Draining, QueueFull
from edge.generation import Sampling
from edge.scheduler.queue import Queue
from edge.scheduler.ticket import Ticket


def ticket(index=0, deadline_s=1e12):
    return Ticket(
        index,
        np.array([1, 2], dtype=np.int32),
        4,
        Sampling(),
        deadline_s,
        stdlib_queue.SimpleQueue(),
    )


def tickets(count):
    return [ticket(index) for index in range(count)]


def test_it_starts_empty_and_without_free_slots():
    queue = Queue(2)
    assert len(queue) == 0
    assert queue.peek() is None
    queue.admit(tickets(2), retry_after_s=1)
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)


def test_all_or_none():
    queue = Queue(3)
    queue.admit(tickets(2), retry_after_s=1)
    with pytest.raises(QueueFull) as caught:
        queue.admit(tickets(2), retry_after_s=7.5)
    assert len(queue) == 2
    assert caught.value.retry_after_s == 7.5
    queue.admit(tickets(1), retry_after_s=1)
    assert len(queue) == 3


def test_free_slots_come_on_top_of_the_bound():
    queue = Queue(2)
    queue.offer(3)
    queue.admit(tickets(5), retry_after_s=1)
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)


@pytest.mark.parametrize("limit", [0, 2])
def test_a_request_larger_than_the_bound_is_taken_when_nobody_waits(limit):
    queue = Queue(limit)
    queue.offer(1)
    queue.admit(tickets(20), retry_after_s=1)
    assert len(queue) == 20
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)


def test_a_queue_of_zero_takes_just_what_the_slots_can_run():
    queue = Queue(0)
    queue.offer(1)
    queue.admit(tickets(1), retry_after_s=1)
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)
    queue.take()
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)
    queue.offer(1)
    queue.admit(tickets(1), retry_after_s=1)


def test_a_taken_slot_is_not_free_any_more():
    """Else as many more would be let in as tickets were taken since the last offer."""
    queue = Queue(1)
    queue.offer(2)
    queue.admit(tickets(3), retry_after_s=1)
    queue.take()
    queue.take()
    with pytest.raises(QueueFull):
        queue.admit(tickets(1), retry_after_s=1)


def test_first_come_first_served():
    queue = Queue(9)
    several = tickets(5)
    for one in several:
        queue.admit([one], retry_after_s=1)
    assert queue.peek() is several[0]
    assert [queue.take() for _ in several] == several


def test_sweep_removes_the_cancelled_and_the_late_and_keeps_the_order():
    queue = Queue(9)
    several = [ticket(0, 10), ticket(1, 20), ticket(2, 30), ticket(3, 40)]
    queue.admit(several, retry_after_s=1)
    several[2].cancel()
    assert queue.sweep(now_s=15) == [several[0], several[2]]
    assert [queue.take(), queue.take()] == [several[1], several[3]]
    assert queue.sweep(now_s=100) == []


def test_the_deadline_itself_is_too_late():
    queue = Queue(1)
    one = ticket(0, 10)
    queue.admit([one], retry_after_s=1)
    assert queue.sweep(now_s=10) == [one]


def test_drain_refuses_and_keeps_what_waits():
    queue = Queue(9)
    queue.admit(tickets(2), retry_after_s=1)
    queue.drain()
    with pytest.raises(Draining):
        queue.admit(tickets(1), retry_after_s=1)
    assert len(queue) == 2
    assert queue.wait()


def test_close_refuses_and_ends_the_wait():
    queue = Queue(9)
    waited = []
    thread = threading.Thread(target=lambda: waited.append(queue.wait()))
    thread.start()
    time.sleep(0.02)
    queue.close()
    thread.join(5)
    assert waited == [False]
    with pytest.raises(Draining):
        queue.admit(tickets(1), retry_after_s=1)


def test_wait_wakes_for_a_ticket():
    queue = Queue(1)
    waited = []
    thread = threading.Thread(target=lambda: waited.append(queue.wait()))
    thread.start()
    time.sleep(0.02)
    queue.admit(tickets(1), retry_after_s=1)
    thread.join(5)
    assert waited == [True]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("free"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(limit=st.integers(0, 4), slots=st.integers(1, 4), actions=ACTIONS)
def test_a_model_of_the_queue(limit, slots, actions):
    """Against a plain list: what waits beyond the free slots never exceeds the bound.

    The one exception is a single request larger than the bound, let in when nobody waited.
    """
    queue = Queue(limit)
    queue.offer(slots)
    waiting, free = deque(), slots
    for action, count in actions:
        if action == "admit":
            several = tickets(count)
            fits = len(waiting) + count - free <= limit or (not waiting and free > 0)
            try:
                queue.admit(several, retry_after_s=1)
            except QueueFull:
                assert not fits
            else:
                assert fits
                waiting.extend(several)
        elif action == "take" and waiting and free:
            assert queue.take() is waiting.popleft()
            free -= 1
        elif action == "free" and free < slots:
            free += 1
            queue.offer(free)
        assert len(queue) == len(waiting)


def test_many_threads_never_exceed_the_bound():
    queue = Queue(10)
    queue.offer(5)
    outcomes = []

    def hand_in():
        for _ in range(20):
            try:
                queue.admit(tickets(1), retry_after_s=1)
                outcomes.append(True)
            except QueueFull:
                outcomes.append(False)

    threads = [threading.Thread(target=hand_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 160
    assert sum(outcomes) == len(queue) == 15
