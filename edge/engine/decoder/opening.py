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
from edge.engine.decoder.runs import POSITIONS, Adapters, Runs
from edge.engine.ort import OrtError, Session
from edge.errors import StartupError
from edge.tensors import misfit

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
    adapters: Adapters | None = None,
) -> DecoderEngine:
    """The engine for the onnxruntime-genai model in `folder`: `slots` rows of `row_tokens` each.

    It keeps `prefixes` sequences that have ended, and none where so much cannot be reserved. With
    `speculates` it drafts tokens where the graph gives more than the last token's logits.
    `adapters` hold values for optional inputs of the graph.
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
        _check_adapters(adapters or {}, session)
        arena = _arena(shape, slots, prefixes)
    except (Misfit, StartupError):
        session.close()
        raise
    runs = Runs(session, found, arena, adapters)
    return DecoderEngine(
        runs,
        arena,
        limits,
        slots=slots,
        row_tokens=row_tokens,
        prefill_chunk_ms=prefill_chunk_ms,
        speculates=speculates,
    )


def _check_adapters(adapters: Adapters, session: Session) -> None:
    ports = {port.name: port for port in session.optional if port.name != POSITIONS}
    problems = []
    for name, tensors in adapters.items():
        for place, array in tensors.items():
            port = ports.get(place)
            wrong = misfit(array, port.dtype, port.shape) if port else "is no input of the graph"
            if wrong:
                problems.append(f"adapter {name}: {place} {wrong}")
    if problems:
        raise StartupError(problems)


def _arena(shape: Shape, slots: int, prefixes: int) -> Arena:
    shape = dataclasses.replace(shape, context=padded(shape.context))
    try:
        return Arena(shape, slots + prefixes)
    except StartupError:
        if not prefixes:
            raise
        _log.warning("no room for cached prefixes", extra={"slots": slots, "prefixes": prefixes})
        return Arena(shape, slots)
