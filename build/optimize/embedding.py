"""The table of embeddings in int4 blocks, looked up by GatherBlockQuantized."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from build.optimize import codes
from build.optimize.graph import Graph, attribute, with_weight
from build.weights import QUANTIZED_GATHER

_BITS = 4
_MIDDLE = 8
_IR_WITH_INT4 = 10  # the version of the format that has the element type INT4


def plain(graph: Graph) -> NodeProto | None:
    """The lookup of token ids in a table of plain numbers, if there is one."""
    for node in with_weight(graph, graph.of_type("Gather"), 0):
        if node.input[1] == graph.config.input_ids and attribute(node, "axis") == 0:
            return node
    return None


def is_quantized(graph: Graph) -> bool:
    """Whether the table is in blocks already."""
    return bool(graph.of_type(QUANTIZED_GATHER))


def quantize(graph: Graph, node: NodeProto, block_size: int) -> None:
    """Replace the lookup `node`; a table that the head reads too stays there for it."""
    table = graph.array(node.input[0])
    found, scales = codes.quantize(table.astype(np.float32), block_size, _BITS)
    columns = table.shape[1]
    signed = (found.reshape(len(table), -1)[:, :columns] - np.uint8(_MIDDLE)) & np.uint8(0xF)
    made = onnx.helper.make_node(
        QUANTIZED_GATHER,
        [
            graph.put(
                f"{node.input[0]}_Q4", codes.pack(signed, _BITS), TensorProto.INT4, table.shape
            ),
            node.input[1],
            graph.put(f"{node.input[0]}_scales", scales.astype(table.dtype)),
        ],
        list(node.output),
        name=f"{node.name}_Q4",
        domain="com.microsoft",
        block_size=block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    graph.replace(node, made)
    graph.model.ir_version = max(graph.model.ir_version, _IR_WITH_INT4)
