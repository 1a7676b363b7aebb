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

from edge.engine.decoder import operators
from edge.engine.decoder.arena import Shape
from edge.engine.ort import Port

_ATTENTION = "GroupQueryAttention"
# Exports that switch between two sets of rotary caches, or hold another state, branch or loop.
_CONTROL = ("If", "Loop", "Scan")
_CACHE_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


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
    """What the engine must know of a graph that fits."""

    model: Path
    names: Names
    layers: int
    kv_heads: int
    head_size: int
    vocab_size: int

    def ports(self) -> set[str]:
        """Every input that the engine feeds."""
        names = self.names
        past = {name % layer for name in names.past for layer in range(self.layers)}
        return past | {names.input_ids, names.attention_mask, names.position_ids}


def read(folder: Path) -> Graph:
    """The graph of an onnxruntime-genai model folder; raises `Misfit`."""
    model = json.loads((folder / "genai_config.json").read_bytes())["model"]
    decoder = model["decoder"]
    for key in ("pipeline", "sliding_window"):
        if decoder.get(key):
            raise Misfit(f"genai_config.json has a {key}")
    for other in ("encoder", "vision", "speech", "embedding"):
        if model.get(other):
            raise Misfit(f"genai_config.json has a part {other}")
    graph = Graph(
        model=folder / decoder["filename"],
        names=_names(decoder),
        layers=int(decoder["num_hidden_layers"]),
        kv_heads=int(decoder["num_key_value_heads"]),
        head_size=int(decoder["head_size"]),
        vocab_size=int(model["vocab_size"]),
    )
    _check_operators(graph)
    return graph


def shape(graph: Graph, inputs: Iterable[Port], outputs: Iterable[Port], context: int) -> Shape:
    """The KV cache that the loaded graph's ports ask for; raises `Misfit`."""
    found = {port.name: port for port in inputs}
    unknown = sorted(set(found) - graph.ports())
    if unknown:
        raise Misfit(f"the graph asks for {', '.join(unknown[:3])}")
    first = found.get(graph.names.past[0] % 0)
    if first is None or first.dtype not in _CACHE_TYPES:
        raise Misfit(f"the KV cache is {first.dtype if first else 'absent'}, expected float")
    _check_past(first, graph)
    if graph.names.logits not in {port.name for port in outputs}:
        raise Misfit(f"the graph has no output {graph.names.logits}")
    return Shape(graph.layers, graph.kv_heads, context, graph.head_size, first.dtype)


def _check_past(port: Port, graph: Graph) -> None:
    sizes = [size for size in (*port.shape[1:2], *port.shape[3:4]) if isinstance(size, int)]
    if len(port.shape) != 4 or not set(sizes) <= {graph.kv_heads, graph.head_size}:
        raise Misfit(f"{port.name} has the shape {list(port.shape)}")


def _check_operators(graph: Graph) -> None:
    try:
        found = operators.count(graph.model)
    except (OSError, ValueError) as error:
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
