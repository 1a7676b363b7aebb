"""The caller's handle on one sequence in the scheduler."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.engine.base import Choice, Constraint, Ids
from edge.errors import EdgeError
from edge.generation import Finish, Sampling


@dataclass(frozen=True, slots=True)
class Event:
    """News of a ticket: a token, log-probabilities of prompt tokens, or its end.

    Exactly one event of a ticket has `finish` set, and it is the last; `error` says why where
    `finish` is `error`.
    """

    ticket: Ticket
    choice: Choice | None = None
    prompt_choices: tuple[Choice, ...] = ()
    finish: Finish | None = None
    error: EdgeError | None = None


Outbox = queue.SimpleQueue[Event]


@dataclass(slots=True, eq=False)
class Times:
    """Monotonic seconds at which a ticket passed each stage; 0 where it has not."""

    admitted_s: float = field(default_factory=time.monotonic)
    opened_s: float = 0.0
    prefilled_s: float = 0.0
    ended_s: float = 0.0
    cancelled_s: float = 0.0


def _nothing() -> None:
    """Nothing runs for a ticket that waits."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One sequence: what to run, and where its events go.

    `cancel` may be called from any thread; everything else that changes is written by the
    scheduler's thread alone. `tokens` counts the tokens sampled so far, `prefilled` those of the
    prompt that were computed and `cached` those that needed not be; `interrupt` ends a model call
    that works for this ticket alone.
    """

    index: int
    prompt: Ids
    max_tokens: int
    sampling: Sampling
    deadline_s: float
    outbox: Outbox
    constraint: Constraint | None = None
    echo_logprobs: bool = False
    adapter: str = ""
    times: Times = field(default_factory=Times)
    tokens: int = 0
    prefilled: int = 0
    cached: int = 0
    is_cancelled: bool = False
    interrupt: Callable[[], None] = _nothing

    def cancel(self) -> None:
        """The caller left: the sequence stops within one step. Idempotent."""
        if not self.is_cancelled:
            self.times.cancelled_s = time.monotonic()
            self.is_cancelled = True
            self.interrupt()

    def stop(self) -> None:
        """The caller has what it wants, at a stop string: stops likewise, but nobody left."""
        self.is_cancelled = True
