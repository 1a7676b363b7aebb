"""Opens a bundle's model folder: weights, dtype, and the way of running rows that fits it."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge.bundle import Manifest
from edge.engine.base import Limits
from edge.engine.pipeline import packed, precision, quantization, trial, weights
from edge.engine.pipeline.engine import PipelineEngine
from edge.engine.pipeline.packed import Misfit
from edge.engine.pipeline.runner import PackedRunner, Runner
from edge.engine.pipeline.solo import SoloRunner
from edge.engine.pipeline.threads import Threads
from edge.engine.pipeline.trial import Reference
from edge.errors import StartupError

_log = logging.getLogger(__name__)
# Relative distance of logits that rounding to int8 explains.
_ROUNDED = 0.25
# A model that is not what a runner expects fails in any of these ways.
_MISFITS = (Misfit, RuntimeError, AttributeError, TypeError, ValueError, IndexError, KeyError)


@dataclass(frozen=True, slots=True)
class Options:
    """What the deployment says; `features` are the CPU's instruction sets."""

    threads: int
    prefill_chunk_ms: int
    dtype: str = "auto"
    quantize: str = "none"
    features: frozenset[str] = frozenset()


def load(folder: Path, manifest: Manifest, options: Options) -> PipelineEngine:
    """The engine for the transformers model in `folder`. Raises `StartupError`."""
    weights.quiet()
    packed.register()
    threads = Threads(options.threads)
    threads.apply()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = _dtype(manifest, options, device)
    model = weights.load(
        folder, getattr(torch, name), device, runs_remote_code=manifest.remote_code
    )
    wanted = trial.reference(model)
    if options.quantize == "int8":
        quantization.round_weights(model)
        wanted = dataclasses.replace(wanted, tolerance=_ROUNDED)
    runner = _runner(model, wanted)
    limits = Limits(
        context_length=manifest.context_length,
        eos_ids=frozenset(manifest.eos_ids),
        vocab_size=wanted.vocab_size,
        kv_bytes_per_token=runner.token_bytes,
    )
    _log.info(
        "model opened",
        extra={
            "dtype": name if options.quantize == "none" else options.quantize,
            "device": str(device),
            "rows": runner.name,
        },
    )
    return PipelineEngine(
        runner, limits, threads=threads, prefill_chunk_ms=options.prefill_chunk_ms
    )


def _dtype(manifest: Manifest, options: Options, device: torch.device) -> str:
    """What to load the weights as; those that will be rounded stay as they were saved."""
    is_cpu = device.type == "cpu"
    if options.quantize == "none":
        return precision.choose(
            options.dtype, manifest.quantization, options.features, is_cpu=is_cpu
        )
    if not is_cpu:
        raise StartupError([f"EDGE_QUANTIZE is {options.quantize}, and only CPUs compute so here"])
    return precision.choose("auto", manifest.quantization, options.features, is_cpu=False)


def _runner(model: Any, wanted: Reference) -> Runner:
    """The first way of running rows that gives the model's own logits."""
    try:
        return _packed(model, wanted)
    except _MISFITS as misfit:
        _log.info("rows cannot share calls", extra={"reason": str(misfit)})
        reason = misfit
    model.set_attn_implementation("eager")
    for reads_chunks in (True, False):
        try:
            return _solo(model, wanted, reads_chunks)
        except _MISFITS as misfit:
            reason = misfit
    raise StartupError(
        [f"model: this engine cannot run the architecture {model.config.model_type}: {reason}"]
    )


def _packed(model: Any, wanted: Reference) -> PackedRunner:
    if not getattr(model, "_supports_attention_backend", False):
        raise Misfit("its attention is its own")
    shape = trial.kv_shape(model)
    model.set_attn_implementation(packed.NAME)
    runner = PackedRunner(model, shape)
    config = model.config.get_text_config(decoder=True)
    windows = {getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")}
    trial.check(runner, wanted, windows=frozenset(window for window in windows if window))
    return runner


def _solo(model: Any, wanted: Reference, reads_chunks: bool) -> SoloRunner:
    runner = SoloRunner(model, reads_chunks=reads_chunks)
    trial.check(runner, wanted)
    return runner
