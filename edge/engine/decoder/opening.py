"""Opens a model folder on the fast engine, or says why it does not fit."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from edge.engine.base import Limits
from edge.engine.decoder import graph
from edge.engine.decoder.arena import Arena, Shape, padded
from edge.engine.decoder.engine import DecoderEngine
from edge.engine.decoder.graph import Misfit
from edge.engine.decoder.runs import Runs
from edge.engine.ort import OrtError, Session
from edge.errors import StartupError

_log = logging.getLogger(__name__)

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
    prefixes: int = 0,
    speculates: bool = False,
) -> DecoderEngine:
    """The engine for the onnxruntime-genai model in `folder`: `slots` rows of `row_tokens` each.

    It keeps `prefixes` sequences that have ended, and none where so much cannot be reserved. With
    `speculates` it drafts tokens where the graph gives more than the last token's logits.
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
        arena = _arena(shape, slots, prefixes)
    except (Misfit, StartupError):
        session.close()
        raise
    runs = Runs(session, found, arena)
    return DecoderEngine(
        runs,
        arena,
        limits,
        slots=slots,
        row_tokens=row_tokens,
        prefill_chunk_ms=prefill_chunk_ms,
        speculates=speculates,
    )


def _arena(shape: Shape, slots: int, prefixes: int) -> Arena:
    shape = dataclasses.replace(shape, context=padded(shape.context))
    try:
        return Arena(shape, slots + prefixes)
    except StartupError:
        if not prefixes:
            raise
        _log.warning("no room for cached prefixes", extra={"slots": slots, "prefixes": prefixes})
        return Arena(shape, slots)
