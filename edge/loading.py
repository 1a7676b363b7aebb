"""From a bundle to a backend that answers: load, warm up, start the scheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge import adapters, cores, cpu, memory, system_prompts
from edge.admission import Rules
from edge.bundle import Bundle, Defaults
from edge.config import Settings, silence_telemetry
from edge.crew import Crew
from edge.engine.base import Engine, Limits
from edge.engine.tokenizer import Tokenizer
from edge.errors import EngineFailed, StartupError
from edge.generation import Sampling
from edge.memory import LEAST_KV_TOKENS, Appetite
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.service import Backend

if TYPE_CHECKING:
    from edge.engine.decoder.engine import DecoderEngine

_log = logging.getLogger(__name__)
_WARM_UP_PROMPT_TOKENS = 4
_WARM_UP_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine and its tokenizer; `name` and `reason` say which engine it is, and why.

    `rethread` gives the engine another number of threads while it runs, where it can.
    """

    engine: Engine
    tokenizer: Tokenizer
    name: str = "scripted"
    reason: str = ""
    rethread: Callable[[int], None] | None = None


Loader = Callable[[], Loaded]


def onnx_loader(bundle: Bundle, settings: Settings) -> Loader:
    """How to load a bundle's ONNX model on the engine that the settings ask for, or that fits."""

    def load() -> Loaded:
        silence_telemetry()
        # Imported here: the arbiter process must not hold the runtime.
        from edge.engine.genai_tokenizer import GenaiTokenizer

        tokenizer = GenaiTokenizer(bundle.model_folder, bundle.manifest.chat_template)
        if settings.engine == "genai":
            adapters.forbid(bundle, "EDGE_ENGINE is genai")
            return Loaded(_genai(bundle, settings), tokenizer, "genai", "EDGE_ENGINE says so")
        return _loaded(bundle, settings, tokenizer)

    return load


def _loaded(bundle: Bundle, settings: Settings, tokenizer: Tokenizer) -> Loaded:
    """The fast engine where the model fits it; onnxruntime-genai serves every other model."""
    from edge.engine.decoder.opening import Misfit

    try:
        engine = _decoder(bundle, settings)
        return Loaded(engine, tokenizer, "decoder", "the graph fits it", engine.rethread)
    except Misfit as misfit:
        if settings.engine == "decoder":
            raise StartupError(
                [f"EDGE_ENGINE is decoder, which cannot run this model: {misfit}"]
            ) from misfit
        adapters.forbid(bundle, str(misfit))
        _log.info("another engine is needed", extra={"reason": str(misfit)})
        return Loaded(_genai(bundle, settings), tokenizer, "genai", str(misfit))


def _decoder(bundle: Bundle, settings: Settings) -> DecoderEngine:
    from edge.engine import genai
    from edge.engine.decoder import opening

    limits = genai.limits(bundle.manifest, bundle.model_folder)
    return opening.load(
        bundle.model_folder,
        limits,
        threads=engine_threads(settings),
        spin=settings.spin,
        slots=settings.slots,
        row_tokens=_row_tokens(limits, settings),
        prefill_chunk_ms=settings.prefill_chunk_ms,
        prefixes=settings.prefixes,
        speculates=settings.speculation,
        adapters=adapters.read(bundle),
    )


def _row_tokens(limits: Limits, settings: Settings) -> int:
    """The longest row that can be let in: the context, or what all of memory would hold.

    A context of 131,072 tokens is never reserved on a machine that could not fill a tenth of it.
    """
    if not limits.kv_bytes_per_token:
        return limits.context_length
    most_bytes = settings.kv_limit or memory.left_bytes(0)
    fitting = max(LEAST_KV_TOKENS, most_bytes // limits.kv_bytes_per_token)
    return min(limits.context_length, fitting)


def _genai(bundle: Bundle, settings: Settings) -> Engine:
    from edge.engine import genai

    folder = bundle.model_folder
    model = genai.load(folder, threads=engine_threads(settings), spin=settings.spin)
    limits = genai.limits(bundle.manifest, folder)
    return genai.GenaiEngine(model, limits, prefill_chunk_ms=settings.prefill_chunk_ms)


def engine_threads(settings: Settings) -> int:
    """The setting, else what quota, affinity and kinds of core are good for."""
    return settings.threads or cpu.engine_threads()


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
