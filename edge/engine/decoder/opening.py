"""Opens a model folder on the fast engine, or says why it does not fit."""

from __future__ import annotations

from pathlib import Path

from edge.engine.base import Limits
from edge.engine.decoder import graph
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.engine import DecoderEngine
from edge.engine.decoder.graph import Misfit
from edge.engine.decoder.runs import Runs
from edge.engine.ort import OrtError, Session
from edge.errors import StartupError

__all__ = ["Misfit", "load"]


def load(
    folder: Path,
    limits: Limits,
    *,
    threads: int,
    spin: bool,
    slots: int,
    row_tokens: int,
    prefill_chunk_ms: int,
) -> DecoderEngine:
    """The engine for the onnxruntime-genai model in `folder`: `slots` rows of `row_tokens` each.

    Raises `Misfit` for a model that another engine must serve, and `StartupError` with the
    runtime's own words where it cannot be loaded.
    """
    found = graph.read(folder)
    try:
        session = Session(found.model, threads=threads, spin=spin)
    except OrtError as error:
        raise StartupError([f"model: the runtime cannot load it: {error}"]) from error
    try:
        shape = graph.shape(found, session.inputs, session.outputs, row_tokens)
        arena = Arena(shape, slots)
    except (Misfit, StartupError):
        session.close()
        raise
    runs = Runs(session, found, arena)
    return DecoderEngine(runs, arena, limits, prefill_chunk_ms=prefill_chunk_ms)
