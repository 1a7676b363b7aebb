"""The weights of MatMuls in blocks of another size, or in blocks for the first time."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto

from build.optimize import codes
from build.optimize.graph import Array, Graph, attribute, set_attribute, with_weight
from build.weights import PACKED_BITS, QUANTIZED_MATMUL

_CONTRIB = "com.microsoft"
_ZEROS = 3  # input number of the zero points
_GROUPS = 4  # input number of `g_idx`, which reorders the columns


def quantized(graph: Graph) -> list[NodeProto]:
    """The MatMuls whose weights are in blocks."""
    return graph.of_type(QUANTIZED_MATMUL)


def plain(graph: Graph) -> list[NodeProto]:
    """The MatMuls whose weights are plain numbers."""
    return list(with_weight(graph, graph.of_type("MatMul"), 1))


def coarsest(graph: Graph) -> int:
    """The largest block of the graph, 0 where nothing is quantized."""
    return max((attribute(node, "block_size") for node in quantized(graph)), default=0)


def is_grouped(graph: Graph) -> bool:
    """Whether some weight has its columns in another order."""
    return any(len(n.input) > _GROUPS and n.input[_GROUPS] for n in quantized(graph))


def requantize(graph: Graph, block_size: int) -> None:
    """Put every quantized weight into blocks of `block_size`, each in the bits that it has."""
    for node in quantized(graph):
        if attribute(node, "block_size") != block_size:
            packed, scales = _coded(_weight(graph, node), block_size, _bits(node))
            kind = graph.array(node.input[2]).dtype
            graph.put(node.input[1], packed)
            graph.put(node.input[2], scales.astype(kind))
            if len(node.input) > _ZEROS:
                node.input[_ZEROS] = ""
            set_attribute(node, "block_size", block_size)


def quantize(graph: Graph, node: NodeProto, block_size: int, bits: int) -> None:
    """Make the plain MatMul `node` one with blocks; activations in int8, as the builder does."""
    weight = graph.array(node.input[1])
    columns, rows = weight.shape
    packed, scales = _coded(weight.T.astype(np.float32), block_size, bits)
    made = onnx.helper.make_node(
        QUANTIZED_MATMUL,
        [
            node.input[0],
            graph.put(f"{node.input[1]}_Q{bits}", packed),
            graph.put(f"{node.input[1]}_scales", scales.astype(weight.dtype)),
        ],
        list(node.output),
        name=f"{node.name}_Q{bits}",
        domain=_CONTRIB,
        K=columns,
        N=rows,
        bits=bits,
        block_size=block_size,
        accuracy_level=4,
    )
    graph.replace(node, made)


def _coded(weight: codes.Matrix, block_size: int, bits: int) -> tuple[codes.Codes, codes.Matrix]:
    found, scales = codes.quantize(weight, block_size, bits)
    return codes.pack(found, bits), scales


def _weight(graph: Graph, node: NodeProto) -> codes.Matrix:
    """The weight (N, K) that the quantized `node` stands for."""
    bits, rows = _bits(node), attribute(node, "N")
    stored = codes.unpack(graph.array(node.input[1]), bits)
    scales = graph.array(node.input[2]).reshape(rows, -1).astype(np.float32)
    zeros: int | codes.Matrix = 1 << (bits - 1)
    if len(node.input) > _ZEROS and node.input[_ZEROS]:
        zeros = _zeros(graph.array(node.input[_ZEROS]), bits, scales.shape)
    return codes.dequantize(stored, scales, zeros, attribute(node, "K"))


def _zeros(stored: Array, bits: int, shape: tuple[int, ...]) -> codes.Matrix:
    """Zero points as numbers: packed like codes, each row filled up to whole bytes, or plain."""
    found = stored.reshape(shape[0], -1)
    if found.dtype == np.uint8 and bits < PACKED_BITS:
        found = codes.unpack(found, bits)
    return found[:, : shape[1]].astype(np.float32)


def _bits(node: NodeProto) -> int:
    return attribute(node, "bits", 4)
