"""A decoder graph with LoRA as Olive makes it, and adapters for it with random values.

Olive's `ExtractAdapters` turns the A and B of every adapted projection into inputs of the graph
whose default has the rank 0, so that they add nothing, and writes the trained ones as a file of
onnxruntime's adapter format: an adapter may have any rank.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

RANK = "lora_r"
NAMES = ("pirate", "poet")
_SPREAD = 2.5
_HEAD = "lm_head"
Tensors = dict[str, npt.NDArray[np.generic]]


def copy(model: Path, folder: Path) -> Path:
    """A copy of the demo model with LoRA inputs in `folder`, and two adapters beside its graph."""
    shutil.copytree(model, folder)
    adapt(folder / "model.onnx")
    for seed, name in enumerate(NAMES, 1):
        write(folder / f"{name}.onnx_adapter", values(folder / "model.onnx", seed, 3 * seed))
    return folder


def adapt(model: Path) -> None:
    """Give every quantized projection of the graph in `model`, but the head, LoRA inputs.

    Activations are kept as floats: logits then depend on nothing but the tokens, to six digits.
    """
    loaded = onnx.load(model, load_external_data=False)
    nodes = []
    for node in loaded.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
        if node.op_type == "MatMulNBits" and _HEAD not in node.name:
            nodes += _lora(loaded.graph, node)
    loaded.graph.ClearField("node")
    loaded.graph.node.extend(nodes)
    model.unlink()
    onnx.save(loaded, model)


def _lora(graph: GraphProto, node: NodeProto) -> Iterator[NodeProto]:
    whole, name = node.output[0], node.input[1].split(".MatMul")[0]
    rows, columns = (next(a.i for a in node.attribute if a.name == key) for key in "KN")
    low, added, plain = f"{name}.lora_A", f"{name}.lora_B", f"{whole}/plain"
    for port, shape in ((low, [rows, RANK]), (added, [RANK, columns])):
        graph.input.append(
            helper.make_tensor_value_info(f"{port}.weight", TensorProto.FLOAT, shape)
        )
        empty = np.empty([0 if size == RANK else size for size in shape], np.float32)
        graph.initializer.append(numpy_helper.from_array(empty, f"{port}.weight"))
    node.output[0] = plain
    yield helper.make_node("MatMul", [node.input[0], f"{low}.weight"], [low])
    yield helper.make_node("MatMul", [low, f"{added}.weight"], [added])
    yield helper.make_node("Add", [plain, added], [whole])


def values(model: Path, seed: int, rank: int = 4) -> Tensors:
    """Values of `rank` for every LoRA input of the graph in `model`; float32."""
    graph = onnx.load(model, load_external_data=False).graph
    draw = np.random.default_rng(seed)
    found: Tensors = {}
    for port in graph.input:
        dims = [size.dim_param or size.dim_value for size in port.type.tensor_type.shape.dim]
        if RANK in dims:
            shape = [rank if size == RANK else size for size in dims]
            spread = (_SPREAD if dims[0] == RANK else 1) * shape[0] ** -0.5
            found[port.name] = draw.normal(0, spread, shape).astype(np.float32)
    return found


def write(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]]) -> Path:
    """Write `tensors` as an adapter file of onnxruntime."""
    format_ = onnxruntime.AdapterFormat()
    format_.set_adapter_version(1)
    format_.set_model_version(1)
    format_.set_parameters(
        {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            for name, array in tensors.items()
        }
    )
    format_.export_adapter(str(path))
    return path
