"""What a decoder graph reads and keeps for a token, from its declarations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx

from build import genai_config, weights
from build.findings import Findings
from build.genai_config import GenaiConfig

MULTIPLIERS = (*weights.MULTIPLIERS, "QMoE")
HALF_BYTES = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
KV_DIMENSIONS = 4  # batch, heads, tokens, head size


class NoGraph(Exception):
    """The folder's graph does not say what a token costs; the text says why."""


@dataclass(frozen=True, slots=True)
class Needs:
    """`read_bytes_per_token`: weights and scales of all matrices that a token goes through.

    Embeddings do not count: a token reads a row of them. `stored_bytes` are all weights.
    """

    read_bytes_per_token: int
    kv_bytes_per_token: int
    stored_bytes: int


def read(folder: Path) -> Needs:
    """The needs of the onnxruntime-genai model in `folder`. Raises `NoGraph`."""
    config = genai_config.read(folder, findings := Findings())
    if config is None:
        raise NoGraph("; ".join(findings.problems))
    graph = onnx.load(folder / config.decoder, load_external_data=False).graph
    sizes = {
        tensor.name: _size_bytes(tensor.data_type, tensor.dims) for tensor in graph.initializer
    }
    used = {name for node in graph.node if node.op_type in MULTIPLIERS for name in node.input}
    return Needs(
        read_bytes_per_token=sum(sizes[name] for name in used if name in sizes),
        kv_bytes_per_token=sum(_kv_bytes(port, config) for port in graph.input),
        stored_bytes=sum(sizes.values()),
    )


def _kv_bytes(port: onnx.ValueInfoProto, config: GenaiConfig) -> int:
    """Bytes that one token adds to the cache `port`, 0 for another input.

    Where the graph leaves a dimension open, the configuration has it.
    """
    kind = port.type.tensor_type
    if len(kind.shape.dim) != KV_DIMENSIONS:
        return 0
    heads = kind.shape.dim[1].dim_value or config.kv_heads
    head_size = kind.shape.dim[3].dim_value or config.head_size
    return _size_bytes(kind.elem_type, (heads, head_size))


def _size_bytes(data_type: int, dims: Sequence[int]) -> int:
    elements = int(prod(dims))
    if data_type in HALF_BYTES:
        return (elements + 1) // 2
    return elements * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
