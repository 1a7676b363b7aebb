"""Does an exported graph fit this engine? Decided from its operators, ports and configuration.

What fits: one decoder graph whose attention is GroupQueryAttention in every layer, with the
standard inputs of onnxruntime-genai's exports. What does not fit is served by `genai.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.engine.decoder import operators
from edge.engine.decoder.arena import Shape
from edge.engine.ort import Port

_ATTENTION = "GroupQueryAttention"
# Exports that switch between two sets of rotary caches, or hold another state, branch or loop.
_CONTROL = ("If", "Loop", "Scan")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
# Of the cache: int8 comes with scales that are in the graph.
_CACHES = (*_FLOATS, np.dtype(np.int8))
_IDS = (np.dtype(np.int64),)
# Both are on where genai_config.json leaves them out.
_SLIDES = ("slide_key_value_cache", "slide_inputs")


class Misfit(Exception):
    """This graph is for another engine; the text says why."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the graph calls its ports; the `past` and `present` ones hold `%d` for the layer."""

    input_ids: str
    attention_mask: str
    position_ids: str
    past: tuple[str, str]
    logits: str
    present: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Graph:
    """What the engine must know of a graph that fits.

    `window` is the least number of tokens that its cache must have room for.
    """

    model: Path
    names: Names
    layers: int
    kv_heads: int
    head_size: int
    vocab_size: int
    window: int

    def past(self) -> list[str]:
        """The inputs that hold the KV cache."""
        return [name % layer for name in self.names.past for layer in range(self.layers)]

    def inputs(self) -> set[str]:
        """The inputs that the graph must have; it may ask for the positions too."""
        return {*self.past(), self.names.input_ids, self.names.attention_mask}

    def outputs(self) -> set[str]:
        """The outputs that the graph must have."""
        present = {name % layer for name in self.names.present for layer in range(self.layers)}
        return present | {self.names.logits}


def read(folder: Path) -> Graph:
    """The graph of an onnxruntime-genai model folder; raises `Misfit`."""
    model, decoder = _sections(folder)
    _check_parts(model, decoder)
    graph = Graph(
        model=folder / str(decoder.get("filename")),
        names=_names(decoder),
        layers=_number(decoder, "num_hidden_layers"),
        kv_heads=_number(decoder, "num_key_value_heads"),
        head_size=_number(decoder, "head_size"),
        vocab_size=_number(model, "vocab_size"),
        window=_window(decoder.get("sliding_window") or {}),
    )
    _check_operators(graph)
    return graph


def shape(graph: Graph, inputs: Iterable[Port], outputs: Iterable[Port], context: int) -> Shape:
    """The KV cache of rows of `context` tokens, as the loaded graph wants it; raises `Misfit`."""
    fed = {port.name: port for port in inputs}
    given = {port.name: port for port in outputs}
    _check_names(graph, set(fed), set(given))
    for name in (graph.names.input_ids, graph.names.attention_mask, graph.names.position_ids):
        if name in fed:
            _check(fed[name], _IDS, None, None)
    for name in graph.past():
        _check(fed[name], _CACHES, None, graph.kv_heads, None, graph.head_size)
    _check(given[graph.names.logits], _FLOATS, None, 1, graph.vocab_size)
    dtypes = {fed[name].dtype or np.dtype(np.float32) for name in graph.past()}
    if len(dtypes) > 1:
        raise Misfit(f"the KV cache is of several types: {', '.join(sorted(map(str, dtypes)))}")
    most_tokens = max(context, graph.window)
    return Shape(graph.layers, graph.kv_heads, most_tokens, graph.head_size, dtypes.pop())


def _sections(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        model = json.loads((folder / "genai_config.json").read_bytes())["model"]
        return dict(model), dict(model["decoder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misfit(f"genai_config.json describes no decoder: {error!r}") from error


def _number(section: Mapping[str, Any], key: str) -> int:
    value = section.get(key)
    if not isinstance(value, int) or value < 1:
        raise Misfit(f"genai_config.json: {key}: expected a number above 0, got {value!r}")
    return value


def _check_parts(model: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
    for other in ("encoder", "vision", "speech", "embedding"):
        if model.get(other):
            raise Misfit(f"genai_config.json has a part {other}")
    if decoder.get("pipeline"):
        raise Misfit("genai_config.json has a pipeline")


def _window(window: Mapping[str, Any]) -> int:
    """Tokens of the window that the operator of some layers keeps by itself, 0 for none.

    Such graphs fit: given room for every token, the operator drops none from the cache, and
    masks what is out of the window.
    """
    slides = [key for key in _SLIDES if window.get(key, bool(window))]
    if slides:
        raise Misfit(f"genai_config.json has a sliding_window with {slides[0]}")
    return _number(window, "window_size") if window.get("layers") else 0


def _check_names(graph: Graph, fed: set[str], given: set[str]) -> None:
    unknown = sorted(fed - graph.inputs() - {graph.names.position_ids})
    if unknown:
        raise Misfit(f"the graph asks for {', '.join(unknown[:3])}")
    for kind, missing in (("input", graph.inputs() - fed), ("output", graph.outputs() - given)):
        if missing:
            raise Misfit(f"the graph has no {kind} {', '.join(sorted(missing)[:3])}")


def _check(port: Port, dtypes: tuple[npt.DTypeLike, ...], *sizes: int | None) -> None:
    """A size of None stands for one that must be free; the others may be."""
    fits = len(port.shape) == len(sizes) and all(
        isinstance(found, str) or found == wanted
        for found, wanted in zip(port.shape, sizes, strict=True)
    )
    if port.dtype not in dtypes or not fits:
        expected = ["any" if size is None else size for size in sizes]
        raise Misfit(
            f"{port.name} is {port.dtype or 'of an unknown type'} {list(port.shape)}, "
            f"expected {' or '.join(map(str, dtypes))} {expected}"
        )


def _check_operators(graph: Graph) -> None:
    try:
        found = operators.count(graph.model)
    except OSError as error:  # whose own words hold the path
        raise Misfit(f"its operators cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Misfit(f"its operators cannot be read: {error}") from error
    if found[_ATTENTION] != graph.layers:
        raise Misfit(f"{found[_ATTENTION]} of {graph.layers} layers have {_ATTENTION}")
    branches = [name for name in _CONTROL if found[name]]
    if branches:
        raise Misfit(f"the graph has control flow: {', '.join(branches)}")


def _names(decoder: Mapping[str, Any]) -> Names:
    inputs, outputs = decoder.get("inputs", {}), decoder.get("outputs", {})
    return Names(
        input_ids=inputs.get("input_ids", "input_ids"),
        attention_mask=inputs.get("attention_mask", "attention_mask"),
        position_ids=inputs.get("position_ids", "position_ids"),
        past=(
            inputs.get("past_key_names", "past_key_values.%d.key"),
            inputs.get("past_value_names", "past_key_values.%d.value"),
        ),
        logits=outputs.get("logits", "logits"),
        present=(
            outputs.get("present_key_names", "present.%d.key"),
            outputs.get("present_value_names", "present.%d.value"),
        ),
    )
