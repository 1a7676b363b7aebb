"""From a bundle to a backend that answers: load, warm up, start the scheduler."""

from __future__ import annotations

import logging
import time

import numpy as np

from edge import cores, cpu, memory, system_prompts
from edge.admission import Rules
from edge.bundle import Defaults
from edge.config import Settings
from edge.crew import Crew
from edge.engine.base import Engine, Limits
from edge.errors import EngineFailed, StartupError
from edge.generation import Sampling
from edge.loaders import Loaded, Loader, engine_threads
from edge.memory import LEAST_KV_TOKENS, Appetite
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.service import Backend

_log = logging.getLogger(__name__)
_WARM_UP_PROMPT_TOKENS = 4
_WARM_UP_TOKENS = 2


def start(
    load: Loader,
    defaults: Defaults,
    settings: Settings,
    metrics: Metrics,
    prompts: tuple[str, ...] = (),
) -> Backend:
    """Load the model, run a token and the system `prompts` through it and start its scheduler.

    Raises `StartupError`.
    """
    prompts += system_prompts.read(settings.system_prompts_file)
    began_s, before_bytes = time.monotonic(), cpu.resident_bytes()
    threads = engine_threads(settings)
    # The runtime's threads stay where the thread that starts them was, and so does the loop's.
    with cores.on(cpu.engine_cpus()):
        loaded = load()
    load_s = time.monotonic() - began_s
    limits = loaded.engine.limits
    _warm_up(loaded.engine)
    loaded_bytes = cpu.resident_bytes()
    kv_limit_bytes = _kv_limit(limits, settings)
    preloaded = system_prompts.preload(
        loaded.engine, loaded.tokenizer, prompts, kv_limit_bytes=kv_limit_bytes
    )
    queue = Queue(settings.queue)
    loop = Loop(loaded.engine, queue, metrics, slots=settings.slots, kv_limit_bytes=kv_limit_bytes)
    crew = _crew(loaded, settings, threads, loaded_bytes - before_bytes, kv_limit_bytes)
    _publish(metrics, loop, queue, crew, kv_limit_bytes, load_s)
    with cores.on(cpu.engine_cpus()):
        loop.start()
    _log.info(
        "model ready",
        extra={
            "load_s": round(load_s, 3),
            "warm_up_s": round(time.monotonic() - began_s - load_s, 3),
            "engine": loaded.name,
            "threads": threads,
            "kv_limit_bytes": kv_limit_bytes,
            "preloaded_tokens": preloaded,
        },
    )
    rules = Rules(
        loaded.tokenizer,
        limits,
        defaults,
        kv_limit_bytes,
        max_rows=settings.max_rows,
        deadline_s=settings.deadline_s,
    )
    return Backend(rules, queue, loop, loaded.name, loaded.reason, crew)


def _crew(
    loaded: Loaded, settings: Settings, threads: int, weights_bytes: int, kv_limit_bytes: int
) -> Crew:
    """The engine's threads; kept to the quota where the engine can and no setting stands."""
    # The weights are there twice for a moment, and requests fill KV cache meanwhile: never more
    # than half as much, since what loads the weights faster also reads prompts faster.
    needed_bytes = weights_bytes + min(kv_limit_bytes, weights_bytes // 2)
    if not loaded.copies_weights:
        needed_bytes = 0
    crew = Crew(
        threads,
        loaded.rethread or _cannot,
        wanted=cpu.engine_threads,
        is_affordable=lambda: memory.left_bytes(cpu.resident_bytes()) >= needed_bytes,
    )
    if loaded.rethread and settings.threads is None:
        crew.start()
    return crew


def _cannot(_: int) -> None:
    raise EngineFailed("this engine keeps its threads")


def _warm_up(engine: Engine) -> None:
    try:
        _say_something(engine)
    except EngineFailed as error:
        raise StartupError([f"model: it was loaded but gives no token: {error}"]) from error


def _say_something(engine: Engine) -> None:
    prompt = np.full(_WARM_UP_PROMPT_TOKENS, min(engine.limits.eos_ids, default=0), dtype=np.int32)
    row = engine.open(prompt, _WARM_UP_TOKENS, Sampling(temperature=0))
    try:
        tokens = 0
        while tokens < _WARM_UP_TOKENS:
            step = engine.advance([row])[0]
            if step.error is not None:
                raise step.error
            tokens += step.choice is not None
    finally:
        engine.close(row)


def _kv_limit(limits: Limits, settings: Settings) -> int:
    """The setting, else what memory is free; raises `StartupError` where no request would fit."""
    appetite = Appetite(settings.slots, limits.context_length, limits.kv_bytes_per_token)
    allowed = settings.kv_limit or memory.for_kv_bytes(appetite, cpu.resident_bytes())
    least = appetite.least_bytes
    if allowed < least:
        raise StartupError(
            [
                f"memory: {allowed} bytes are there for the KV cache, expected at least {least}, "
                f"{LEAST_KV_TOKENS} tokens; raise the memory limit or EDGE_KV_LIMIT"
            ]
        )
    return allowed


def _publish(
    metrics: Metrics,
    loop: Loop,
    queue: Queue,
    crew: Crew,
    kv_limit_bytes: int,
    load_s: float,
) -> None:
    metrics.watch(
        running=lambda: loop.running,
        waiting=lambda: len(queue),
        kv_used=lambda: loop.kv_used_bytes,
        throttled_s=cpu.throttled_seconds,
    )
    metrics.kv_limit.set(kv_limit_bytes)
    metrics.load_time.set(load_s)
    metrics.cpu_quota.set_function(cpu.quota_cores)
    metrics.engine_threads.set_function(lambda: crew.threads)
