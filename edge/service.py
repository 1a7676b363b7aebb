"""generate(): the one door for every protocol."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from edge import admission
from edge.admission import Rules
from edge.answer import Generation, Outcome
from edge.crew import Crew
from edge.errors import DeadlineExceeded, EdgeError, NotReady
from edge.generation import CallDelta, Delta, Finish, Request, TokenLogprob, ToolCall, Usage
from edge.metrics import Answered, Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.scheduler.ticket import Outbox

_log = logging.getLogger("edge.request")
_LOADING_RETRY_S = 5.0


class Generator(Protocol):
    """What the protocols ask of the service."""

    def generate(self, request: Request) -> Generation:
        """Let the request in; raises an `EdgeError` before anything is queued."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model with its scheduler; the engine's name, why it is this one, its threads."""

    rules: Rules
    queue: Queue
    loop: Loop
    engine_name: str = ""
    engine_reason: str = ""
    crew: Crew | None = None

    def stop(self, timeout_s: float) -> None:
        """End the threads that call the runtime; waits at most `timeout_s` seconds for each."""
        if self.crew is not None:
            self.crew.stop(timeout_s)
        self.loop.stop(timeout_s)


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole choice."""

    index: int
    text: str
    finish: Finish
    logprobs: tuple[TokenLogprob, ...]
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """Every choice of a request, in the order of their indices."""

    choices: tuple[Completed, ...]
    usage: Usage


class Service:
    """Checks requests against the model, queues them and accounts for their ends."""

    def __init__(
        self, metrics: Metrics, status_of: Callable[[EdgeError], int], *, log_prompts: bool = False
    ) -> None:
        """`status_of` gives the HTTP status under which an error is counted."""
        self._metrics = metrics
        self._status_of = status_of
        self._log_prompts = log_prompts
        self._backend: Backend | None = None

    def attach(self, backend: Backend) -> None:
        """Start serving with `backend`; until then every request is `NotReady`."""
        self._backend = backend

    @property
    def special_tokens(self) -> frozenset[str]:
        """The texts of the model's special tokens; raises `NotReady`."""
        return self._loaded().rules.tokenizer.special_tokens

    def generate(self, request: Request) -> Generation:
        """Tokenize, check and queue `request`; returns at once.

        Raises `NotReady`, `InvalidRequest`, `PromptTooLong`, `MemoryExceeded`, `QueueFull`
        or `Draining`; then nothing of it was queued.
        """
        backend = self._loaded()
        outbox: Outbox = queue.SimpleQueue()
        tickets = admission.tickets(request, backend.rules, outbox)
        backend.queue.admit(tickets, retry_after_s=backend.loop.retry_after_s)
        return Generation(request, tickets, outbox, backend.rules.tokenizer, self._ended)

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise NotReady("the model is still being loaded", retry_after_s=_LOADING_RETRY_S)
        return self._backend

    def _ended(self, outcome: Outcome) -> None:
        code = self._status_of(outcome.error) if outcome.error else 200
        if isinstance(outcome.error, DeadlineExceeded) and not outcome.was_opened:
            self._metrics.reject("deadline")
        self._metrics.answered(_figures(outcome, code))
        entry = _log_entry(outcome, code)
        if self._log_prompts:
            entry["prompts"] = [asdict(prompt) for prompt in outcome.request.prompts]
            entry["answers"] = list(outcome.texts)
        _log.info("request", extra=entry)


def collect(generation: Generation) -> Completion:
    """Run a generation to its end; raises what its iteration raises."""
    pieces: dict[int, list[Delta]] = {}
    usage = Usage()
    for delta in generation:
        if delta.usage is not None:
            usage = delta.usage
        else:
            pieces.setdefault(delta.index, []).append(delta)
    return Completion(tuple(_whole(index, pieces[index]) for index in sorted(pieces)), usage)


def _whole(index: int, deltas: list[Delta]) -> Completed:
    return Completed(
        index,
        "".join(delta.text for delta in deltas),
        next(delta.finish for delta in deltas if delta.finish is not None),
        tuple(score for delta in deltas for score in delta.logprobs),
        _calls([call for delta in deltas for call in delta.calls]),
    )


def _calls(pieces: list[CallDelta]) -> tuple[ToolCall, ...]:
    heads = [piece for piece in pieces if piece.id]
    arguments = [
        "".join(piece.arguments for piece in pieces if piece.index == head.index) for head in heads
    ]
    return tuple(
        ToolCall(head.id, head.name, text) for head, text in zip(heads, arguments, strict=True)
    )


def _figures(outcome: Outcome, code: int) -> Answered:
    return Answered(
        operation=outcome.request.operation,
        code=code,
        finish_reason=outcome.finish,
        error_type=outcome.error.code if outcome.error else "",
        duration_s=outcome.duration_s,
        ttft_s=outcome.ttft_s,
        prompt_tokens=outcome.usage.prompt_tokens,
        output_tokens=outcome.usage.completion_tokens,
    )


def _log_entry(outcome: Outcome, code: int) -> dict[str, object]:
    request = outcome.request
    seconds = {
        "duration_s": outcome.duration_s,
        "queue_s": outcome.queue_s,
        "ttft_s": outcome.ttft_s,
        "prefill_s": outcome.prefill_s,
        "decode_s": outcome.decode_s,
    }
    return {
        "request_id": request.request_id,
        "operation": request.operation,
        **({"adapter": request.adapter} if request.adapter else {}),
        "code": code,
        "finish_reason": str(outcome.finish),
        "error": outcome.error.code if outcome.error else "",
        "choices": len(request.prompts) * request.n,
        "prompt_tokens": outcome.usage.prompt_tokens,
        "completion_tokens": outcome.usage.completion_tokens,
        "cached_tokens": outcome.usage.cached_tokens,
        **{name: None if value is None else round(value, 6) for name, value in seconds.items()},
    }
