"""Thousands of requests, many of which are given up: nothing is left behind."""

from __future__ import annotations

import queue
import random
import time

import numpy as np
import pytest

from edge import cpu
from edge.errors import Draining
from edge.generation import Finish, Sampling
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.scheduler.ticket import Ticket
from tests.edge.engine.decoder.driving import SLOTS, load, prompt_of

REQUESTS = 3000
PREFIXES = 4
PATIENCE_S = 60
MIB = 1 << 20
# What the runtime and Python keep for later; a leak of a row would be far more.
SLACK_BYTES = 6 * MIB


class Crowd:
    """Callers of a running scheduler, as many at a time as wait for slots and some more."""

    def __init__(self, engine):
        self._draw = random.Random(1)
        self._engine = engine
        self._queue = Queue(100)
        self._heads = [prompt_of(n, engine.limits, n) for n in (20, 60, 150)]
        self.loop = Loop(engine, self._queue, Metrics("m"), slots=SLOTS, kv_limit_bytes=2000 * 64)
        self.finishes: dict[Finish, int] = {}
        self.cached = 0

    def ticket(self, number: int) -> Ticket:
        draw, limits = self._draw, self._engine.limits
        own = prompt_of(draw.randint(1, 60), limits, number)
        head = draw.choice([np.array([], np.int32), *self._heads])
        if draw.random() < 0.2:
            own = np.tile(own[:5], 6)  # repeats itself: drafts
        temperature = draw.choice([0, 0.8])
        return Ticket(
            index=0,
            prompt=np.concatenate([head, own]).astype(np.int32),
            max_tokens=draw.randint(1, 30),
            sampling=Sampling(temperature=temperature, top_p=0.9, seed=number),
            deadline_s=time.monotonic() + (0.02 if draw.random() < 0.05 else PATIENCE_S),
            outbox=queue.SimpleQueue(),
        )

    def serve(self, requests: range) -> None:
        """Let `requests` come and wait for the end of each."""
        waiting: list[Ticket] = []
        for number in requests:
            ticket = self.ticket(number)
            self._queue.admit([ticket], retry_after_s=1)
            waiting.append(ticket)
            if self._draw.random() < 0.4:
                time.sleep(self._draw.random() * 0.004)
                self._draw.choice(waiting).cancel()
            if len(waiting) == 3 * SLOTS:
                self._await(waiting.pop(self._draw.randrange(len(waiting))))
        while waiting:
            self._await(waiting.pop())

    def stop(self) -> None:
        self._queue.close()
        self.loop.abort(Draining("over"))
        self.loop.stop(PATIENCE_S)

    def _await(self, ticket: Ticket) -> None:
        tokens = 0
        while True:
            event = ticket.outbox.get(timeout=PATIENCE_S)
            tokens += event.choice is not None
            if event.finish is not None:
                break
        assert tokens == ticket.tokens <= ticket.max_tokens
        self.finishes[event.finish] = self.finishes.get(event.finish, 0) + 1
        self.cached += ticket.cached
        assert ticket.outbox.empty()


@pytest.fixture
def engine(verifying_model):
    engine = load(verifying_model, prefixes=PREFIXES, speculates=True)
    yield engine
    engine.shutdown()


def test_thousands_of_requests_leave_nothing(engine):
    crowd = Crowd(engine)
    # The engine's own end comes with the loop's; the fixture's is for failures before that.
    crowd.loop.start()
    crowd.serve(range(REQUESTS // 3))
    before = cpu.resident_bytes()
    crowd.serve(range(REQUESTS // 3, REQUESTS))
    assert cpu.resident_bytes() - before < SLACK_BYTES
    assert crowd.loop.running == 0
    assert crowd.loop.kv_used_bytes == 0
    placement, view = engine._placement, engine._runs._arena._view
    assert placement.rows == []
    assert placement.prefixes.tokens <= 2000
    assert not view[:, :, :SLOTS].any()
    engine.keep(0)
    assert not view.any()
    crowd.stop()
    assert sum(crowd.finishes.values()) == REQUESTS
    assert crowd.cached > REQUESTS
    assert {Finish.STOP, Finish.LENGTH, Finish.CANCELLED, Finish.ERROR} == crowd.finishes.keys()
    assert min(crowd.finishes.values()) > 10
