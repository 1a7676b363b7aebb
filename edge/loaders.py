"""From a bundle to an engine and its tokenizer: which ones, and how they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge import adapters, cpu, flavors, memory
from edge.bundle import Bundle
from edge.config import Settings, prepare_torch, silence_telemetry
from edge.engine.base import Engine, Limits
from edge.engine.tokenizer import Tokenizer
from edge.errors import StartupError
from edge.memory import LEAST_KV_TOKENS

if TYPE_CHECKING:
    from edge.engine.decoder.engine import DecoderEngine

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine and its tokenizer; `name` and `reason` say which engine it is, and why.

    `rethread` gives the engine another number of threads while it runs, where it can; with
    `copies_weights` the weights are there twice for a moment then.
    """

    engine: Engine
    tokenizer: Tokenizer
    name: str = "scripted"
    reason: str = ""
    rethread: Callable[[int], None] | None = None
    copies_weights: bool = True


Loader = Callable[[], Loaded]


def loader(bundle: Bundle, settings: Settings) -> Loader:
    """How to load a bundle of either flavor; what it raises says what is wrong with it here."""
    load = {"onnx": onnx_loader, "pipeline": pipeline_loader}[bundle.manifest.flavor]

    def checked() -> Loaded:
        flavors.check(bundle.manifest, settings)
        return load(bundle, settings)()

    return checked


def pipeline_loader(bundle: Bundle, settings: Settings) -> Loader:
    """How to load a bundle of transformers weights."""

    def load() -> Loaded:
        prepare_torch(spin=settings.spin)
        adapters.forbid(bundle, "its flavor is pipeline")
        # Imported here: the arbiter process must not hold the runtime.
        from edge.engine.pipeline import opening
        from edge.engine.pipeline.tokenizer import PipelineTokenizer

        manifest = bundle.manifest
        tokenizer = PipelineTokenizer(
            bundle.model_folder,
            manifest.chat_template,
            manifest.eos_ids,
            runs_remote_code=manifest.remote_code,
        )
        options = opening.Options(
            threads=engine_threads(settings),
            prefill_chunk_ms=settings.prefill_chunk_ms,
            dtype=settings.dtype,
            quantize=settings.quantize,
            features=cpu.features(),
        )
        engine = opening.load(bundle.model_folder, manifest, options)
        reason = "the bundle's flavor is pipeline"
        return Loaded(engine, tokenizer, "pipeline", reason, engine.rethread, copies_weights=False)

    return load


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
