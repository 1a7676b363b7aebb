"""Lets the reader of an exported graph say of which tokens it wants the logits.

Exports with a pruned LM head give those of the last token alone, which is what each step needs and
spares the head for all others. Drafted tokens can be verified only with the logits after each of
them. The graph gets one input more, `logits_positions` (int64, shape (positions,)), with the
default [-1]: who does not know it gets what the export gave before. Positions count from the end;
their logits come one below the other, shape (rows * positions, 1, vocab).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

INPUT = "logits_positions"
_SHAPE = "logits_positions_shape"
_EACH_A_ROW = (-1, 1, 0)  # 0: as it was


class NotPruned(ValueError):
    """The graph has no pruned LM head, so that there is nothing to choose."""


def choose(model: Path) -> None:
    """Give the graph in the file `model` the input; one that has it stays as it is.

    Weights outside of the file are left alone. Raises `NotPruned`.
    """
    loaded = onnx.load(str(model), load_external_data=False)
    if any(port.name == INPUT for port in loaded.graph.input):
        return
    _open(loaded.graph)
    partial = model.with_name(model.name + ".partial")
    onnx.save(loaded, str(partial))
    partial.replace(model)


def open_pruned(model: Path) -> None:
    """`choose` for a graph that has a pruned LM head; any other stays as it is."""
    with suppress(NotPruned):
        choose(model)


def _open(graph: GraphProto) -> None:
    gather = _pruning(graph)
    gather.input[1] = INPUT
    stale = {gather.output[0], _put_each_in_a_row(graph, gather)}
    kept = [value for value in graph.value_info if value.name not in stale]
    graph.ClearField("value_info")
    graph.value_info.extend(kept)
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["positions"]))
    for name, values in ((INPUT, [-1]), (_SHAPE, _EACH_A_ROW)):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))


def _put_each_in_a_row(graph: GraphProto, gather: NodeProto) -> str:
    """Reshape what `gather` takes, (rows, positions, hidden); returns the name of the result.

    A gathering of one index has a node behind it that restores the dimension: it is that node.
    """
    readers = [node for node in graph.node if gather.output[0] in node.input]
    if [node.op_type for node in readers] == ["Unsqueeze"]:
        readers[0].op_type = "Reshape"
        readers[0].input[1] = _SHAPE
        return str(readers[0].output[0])
    result = f"{gather.output[0]}/each"
    for node in readers:
        node.input[:] = [result if name == gather.output[0] else name for name in node.input]
    reshape = helper.make_node("Reshape", [gather.output[0], _SHAPE], [result], name=result)
    graph.node.insert(list(graph.node).index(gather) + 1, reshape)
    return result


def _pruning(graph: GraphProto) -> NodeProto:
    """The node that takes the last token's state out of (rows, tokens, hidden)."""
    constants = _constants(graph)
    for node in graph.node:
        if node.op_type != "Gather":
            continue
        index = constants.get(node.input[1])
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        if axis == 1 and index is not None and index.tolist() in (-1, [-1]):
            return node
    raise NotPruned("the graph has no pruned LM head")


def _constants(graph: GraphProto) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """The small integer constants of a graph by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found = [item.t for item in node.attribute if item.name == "value"]
            tensors |= dict(zip(node.output, found, strict=False))
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.INT64 and tensor.data_location == TensorProto.DEFAULT
    }
