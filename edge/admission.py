"""From a request to tickets: tokenized, checked against the model, not queued yet."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from edge.bundle import Defaults
from edge.engine.base import Constraint, Ids, Limits
from edge.engine.tokenizer import Tokenizer
from edge.errors import InvalidRequest, MemoryExceeded, PromptTooLong
from edge.generation import Prompt, Request, Sampling
from edge.scheduler.ticket import Outbox, Ticket


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request is held against; `kv_limit_bytes` bounds one sequence too."""

    tokenizer: Tokenizer
    limits: Limits
    defaults: Defaults
    kv_limit_bytes: int
    max_rows: int
    deadline_s: float


def tickets(request: Request, rules: Rules, outbox: Outbox) -> list[Ticket]:
    """A ticket for each choice of `request`, in the order of their indices.

    Raises `InvalidRequest`, `PromptTooLong` or `MemoryExceeded`.
    """
    _check_rows(request, rules.max_rows)
    prompts = [_encode(prompt, rules) for prompt in request.prompts]
    timeout_s = min(request.timeout_s or rules.deadline_s, rules.deadline_s)
    deadline_s = time.monotonic() + timeout_s
    return [
        _ticket(request, rules, ids, i * request.n + j, outbox, deadline_s)
        for i, ids in enumerate(prompts)
        for j in range(request.n)
    ]


def _check_rows(request: Request, most: int) -> None:
    rows = len(request.prompts) * request.n
    if rows > most:
        raise InvalidRequest(
            f"{len(request.prompts)} prompts times n={request.n} make {rows} sequences, "
            f"expected at most {most}",
            param="n" if request.n > 1 else "prompt",
        )


def _ticket(
    request: Request, rules: Rules, ids: Ids, index: int, outbox: Outbox, deadline_s: float
) -> Ticket:
    return Ticket(
        index=index,
        prompt=ids,
        max_tokens=_max_tokens(request, rules, len(ids)),
        sampling=_seeded(request.sampling, index % request.n),
        deadline_s=deadline_s,
        outbox=outbox,
        constraint=_constraint(request, rules.tokenizer),
        echo_logprobs=request.echo and request.sampling.logprobs is not None,
        adapter=request.adapter,
    )


def _constraint(request: Request, tokenizer: Tokenizer) -> Constraint | None:
    guidance = request.sampling.guidance
    if request.tool_use is not None:
        return tokenizer.constrain_calls(request.tool_use, guidance)
    return tokenizer.constrain(guidance) if guidance else None


def _encode(prompt: Prompt, rules: Rules) -> Ids:
    tokenizer = rules.tokenizer
    if prompt.ids is not None:
        ids = _checked(prompt.ids, rules.limits.vocab_size)
    elif prompt.messages is not None:
        chat = tokenizer.apply_chat_template(prompt.messages, prompt.tools)
        ids = tokenizer.encode(chat, is_chat=True)
    else:
        ids = tokenizer.encode(prompt.text or "")
    if len(ids):
        return ids
    if tokenizer.bos_id is None:
        raise InvalidRequest("the prompt is empty, expected at least one token", param="prompt")
    return np.array([tokenizer.bos_id], dtype=np.int32)


def _checked(ids: tuple[int, ...], vocab_size: int) -> Ids:
    for place, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            raise InvalidRequest(
                f"prompt[{place}] is {token}, expected a token id from 0 to {vocab_size - 1}",
                param="prompt",
            )
    return np.array(ids, dtype=np.int32)


def _max_tokens(request: Request, rules: Rules, prompt_tokens: int) -> int:
    """New tokens to allow: what was asked for, as far as the context goes."""
    context = rules.limits.context_length
    param = "messages" if request.operation == "chat" else "prompt"
    if prompt_tokens >= context:
        raise PromptTooLong(
            f"the prompt has {prompt_tokens} tokens and the model's context holds {context}, "
            "one at least is needed for the answer",
            param=param,
        )
    wanted = rules.defaults.max_tokens if request.max_tokens is None else request.max_tokens
    allowed = min(wanted, context - prompt_tokens)
    needed = (prompt_tokens + allowed) * rules.limits.kv_bytes_per_token
    if needed > rules.kv_limit_bytes:
        raise MemoryExceeded(
            f"a prompt of {prompt_tokens} tokens and max_tokens {allowed} need {needed} bytes of "
            f"KV cache and {rules.kv_limit_bytes} are allowed; ask for fewer tokens",
            param="max_tokens",
        )
    return allowed


def _seeded(sampling: Sampling, sample: int) -> Sampling:
    """Samples of one request differ although they share its seed."""
    if sampling.seed is None or sample == 0:
        return sampling
    return dataclasses.replace(sampling, seed=sampling.seed + sample)
