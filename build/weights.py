"""What an ONNX decoder graph says about its weights: how many, how precise, in what blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from build.errors import InvalidModel

# Operators of the domain com.microsoft, described in onnxruntime's docs/ContribOperators.md.
QUANTIZED_MATMUL = "MatMulNBits"
QUANTIZED_GATHER = "GatherBlockQuantized"
ATTENTION = "GroupQueryAttention"
MULTIPLIERS = (QUANTIZED_MATMUL, "MatMul", "Gemm")
LOOKUPS = (QUANTIZED_GATHER, "Gather")

PACKED_BITS = 8
NAMES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}


@dataclass(frozen=True, slots=True)
class Weights:
    """Facts of the weights of one graph.

    `precision` and `embedding_precision` are names like `int4` or `fp16`; `block_size` is the
    number of weights that share a scale, 0 where nothing is quantized; `parameters` counts the
    weights themselves, without scales, zero points and the tables of rotary positions;
    `accuracy_level` is MatMulNBits' own (4: activations in int8), 0 where unset.
    """

    precision: str
    embedding_precision: str
    block_size: int
    accuracy_level: int
    parameters: int
    operators: Mapping[str, int]


def read(path: Path) -> Weights:
    """Read the graph in `path` without its external data; raises `InvalidModel`."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise InvalidModel(f"{path.name} is no ONNX graph: {error}") from error
    # The default of an optional input, such as an adapter's, is no weight of the model.
    inputs = {port.name for port in graph.input}
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in inputs}
    matmuls = [node for node in graph.node if node.op_type in MULTIPLIERS]
    lookups = [node for node in graph.node if node.op_type in LOOKUPS]
    return Weights(
        precision=_most_common(_precisions(matmuls, weights)),
        embedding_precision=_most_common(_precisions(lookups, weights)),
        block_size=_most_common_attribute(matmuls, "block_size"),
        accuracy_level=_most_common_attribute(matmuls, "accuracy_level"),
        parameters=sum(_counts(graph, weights).values()),
        operators=dict(Counter(node.op_type for node in graph.node)),
    )


def _attribute(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _most_common(names: Iterator[str]) -> str:
    return next((name for name, _ in Counter(names).most_common(1)), "")


def _most_common_attribute(nodes: list[onnx.NodeProto], name: str) -> int:
    values = Counter(_attribute(n, name) for n in nodes if n.op_type == QUANTIZED_MATMUL)
    return next((value for value, _ in values.most_common(1)), 0)


def _bits(node: onnx.NodeProto) -> int:
    return _attribute(node, "bits", default=4)


def _precisions(
    nodes: list[onnx.NodeProto], weights: Mapping[str, onnx.TensorProto]
) -> Iterator[str]:
    """The precision of every weight that `nodes` read, by the node or by the tensor."""
    for node in nodes:
        if node.op_type in (QUANTIZED_MATMUL, QUANTIZED_GATHER):
            yield f"int{_bits(node)}"
        for tensor in (weights[name] for name in node.input if name in weights):
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            if node.op_type in ("MatMul", "Gemm", "Gather") and kind in NAMES:
                yield NAMES[kind]


def _counts(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> dict[str, int]:
    """Weights by initializer name; a tensor that two nodes share counts once."""
    counts: dict[str, int] = {}
    auxiliary: set[str] = set()
    for node in graph.node:
        if node.op_type == QUANTIZED_MATMUL:
            counts[node.input[1]] = _attribute(node, "K") * _attribute(node, "N")
            auxiliary.update(node.input[2:])
        elif node.op_type == QUANTIZED_GATHER:
            counts[node.input[0]] = _unpacked(weights.get(node.input[0]), _bits(node))
            auxiliary.update(node.input[2:])
        elif node.op_type == ATTENTION:
            auxiliary.update(node.input)
    for name, tensor in weights.items():
        is_weight = onnx.TensorProto.DataType.Name(tensor.data_type) in NAMES
        if is_weight and name not in auxiliary:
            counts.setdefault(name, prod(tensor.dims))
    return {name: count for name, count in counts.items() if name in weights}


def _unpacked(tensor: onnx.TensorProto | None, bits: int) -> int:
    """Elements of a quantized tensor; a uint8 tensor packs several of them into a byte."""
    if tensor is None:
        return 0
    is_packed = tensor.data_type == onnx.TensorProto.UINT8
    elements = int(prod(tensor.dims))
    return elements * (PACKED_BITS // bits if is_packed else 1)
