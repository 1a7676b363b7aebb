"""The KV cache in int8: scales found by running the model, then named in its graph.

GroupQueryAttention of onnxruntime 1.32 takes a cache of int8 on CPUs: inputs `k_scale` and
`v_scale` (numbers 12 and 13), attributes `k_quant_type`, `v_quant_type`, `kv_cache_bit_width`;
docs/ContribOperators.md of onnxruntime. docs/decisions/0010 has what it gains and costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto

from build.errors import InvalidModel
from build.genai_config import GenaiConfig
from build.optimize.graph import Graph, set_attribute
from build.weights import ATTENTION

_PAST_KEY, _K_SCALE = 3, 12
_HIGHEST = 127
_LEAST_SCALE = 1e-6  # of a channel that is always 0
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)

Scale = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scales:
    """A scale for every channel of the keys and values of one layer: shape (heads * size,)."""

    keys: Scale
    values: Scale


def is_int8(graph: Graph) -> bool:
    """Whether the cache is in int8 already."""
    kinds = {value.type.tensor_type.elem_type for value in graph.model.graph.input}
    return TensorProto.INT8 in kinds


def is_fit(graph: Graph) -> bool:
    """Whether every layer that has a cache is a GroupQueryAttention over plain numbers."""
    pasts = set(_pasts(graph.config))
    keys = {name for name, _ in _pairs(graph.config)}
    kinds = {
        value.type.tensor_type.elem_type for value in graph.model.graph.input if value.name in pasts
    }
    return set(_attention(graph)) == keys and kinds <= set(_FLOATS)


def calibrate(graph: Graph, ids: Sequence[int]) -> list[Scales]:
    """The scales of every layer: the largest magnitude of each channel over the tokens `ids`.

    The model is run as it lies in `graph.folder`. Raises `InvalidModel` where that fails.
    """
    import onnxruntime_genai as og

    makers = _attention(graph)
    try:
        model = og.Model(str(graph.folder))
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + 1, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(np.asarray(ids, dtype=np.int32))
        return [
            Scales(*(_scale(generator.get_output(name)[:, :, : len(ids)]) for name in outputs))
            for outputs in (makers[key].output[1:3] for key, _ in _pairs(graph.config))
        ]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InvalidModel(f"the runtime does not run the model: {reason}") from error


def quantize(graph: Graph, scales: Sequence[Scales]) -> None:
    """Make the cache int8, with `scales` by layer; `is_fit` must hold."""
    nodes = _attention(graph)
    for (name, _), found in zip(_pairs(graph.config), scales, strict=True):
        _mark(graph, nodes[name], found)
    cached = {n for node in nodes.values() for n in (*node.input[3:5], *node.output[1:3])}
    for group in (graph.model.graph.input, graph.model.graph.output, graph.model.graph.value_info):
        for value in group:
            if value.name in cached:
                value.type.tensor_type.elem_type = TensorProto.INT8


def _attention(graph: Graph) -> dict[str, NodeProto]:
    """The attention of each layer, by the name of its past keys."""
    return {node.input[_PAST_KEY]: node for node in graph.of_type(ATTENTION)}


def _mark(graph: Graph, node: NodeProto, scales: Scales) -> None:
    inputs = [*node.input[:_K_SCALE], *[""] * (_K_SCALE - len(node.input))]
    stem = node.name or node.output[0]
    inputs.append(graph.put(f"{stem}/k_scale", scales.keys))
    inputs.append(graph.put(f"{stem}/v_scale", scales.values))
    inputs += node.input[_K_SCALE + 2 :]
    del node.input[:]
    node.input.extend(inputs)
    set_attribute(node, "k_quant_type", "PER_CHANNEL")
    set_attribute(node, "v_quant_type", "PER_CHANNEL")
    set_attribute(node, "kv_cache_bit_width", 8)


def _scale(cached: npt.NDArray[np.floating]) -> Scale:
    """Of a cache (1, heads, tokens, size): its largest magnitudes over the tokens, as scales."""
    peaks = np.abs(cached.astype(np.float32)).max(axis=(0, 2)).reshape(-1)
    scales: Scale = np.maximum(peaks / _HIGHEST, _LEAST_SCALE).astype(np.float32)
    return scales


def _pairs(config: GenaiConfig) -> Iterator[tuple[str, str]]:
    """The names of the past keys and values, layer by layer."""
    for layer in range(config.layers):
        yield config.key_names % layer, config.value_names % layer


def _pasts(config: GenaiConfig) -> Iterator[str]:
    for pair in _pairs(config):
        yield from pair
