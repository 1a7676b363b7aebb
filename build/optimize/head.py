"""Logits of the last position only: the head then multiplies one row instead of every one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto

from build.optimize.graph import Graph

_LAST = "last_position"


def is_pruned(graph: Graph) -> bool:
    """Whether the graph gives one row of logits however many tokens go in."""
    return any(
        value.name == graph.config.logits and value.type.tensor_type.shape.dim[1].dim_value == 1
        for value in graph.model.graph.output
        if len(value.type.tensor_type.shape.dim) == 3
    )


def prune(graph: Graph, node: NodeProto) -> None:
    """Hand the head `node`, as `graph.head()` found it, the last position alone."""
    graph.put(_LAST, np.array([-1], dtype=np.int64))
    pick = onnx.helper.make_node(
        "Gather",
        [node.input[0], _LAST],
        [f"{node.input[0]}/last"],
        name="/lm_head/prune/Gather",
        axis=1,
    )
    graph.insert_before(node, pick)
    node.input[0] = pick.output[0]
    del graph.model.graph.value_info[:]  # shapes from before; the runtime finds them by itself
    for value in graph.model.graph.output:
        if value.name == graph.config.logits:
            dim = value.type.tensor_type.shape.dim[1]
            dim.Clear()
            dim.dim_value = 1
