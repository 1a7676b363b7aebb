"""An ONNX decoder to be changed: nodes by what they make, weights one at a time.

Weights stay in their files until they are asked for, so that a graph of many gigabytes is changed
in the memory that its largest tensor takes. Format: onnx.proto3 and `docs/ExternalData.md` of the
ONNX project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, set_external_data

from build import weights
from build.genai_config import GenaiConfig

Array = npt.NDArray[Any]
_INLINE_BYTES = 1024  # smaller tensors stay in the graph's own file
_LARGE_BYTES = 1 << 20
_ALIGNMENT, _PAGE = 64, 4096  # the runtime maps large weights from page boundaries on
_THROUGH = ("Cast", "Mul", "Div", "Tanh", "Add", "Where", "Identity")


class Graph:
    """The decoder of an onnxruntime-genai folder."""

    def __init__(self, folder: Path, config: GenaiConfig) -> None:
        self.folder = folder
        self.config = config
        self.model = onnx.load(folder / config.decoder, load_external_data=False)
        self._weights = {tensor.name: tensor for tensor in self.model.graph.initializer}

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes in the order in which they run."""
        return list(self.model.graph.node)

    def of_type(self, *types: str) -> list[NodeProto]:
        """The nodes of these operators."""
        return [node for node in self.nodes if node.op_type in types]

    def has(self, name: str) -> bool:
        """Whether `name` is a weight."""
        return name in self._weights

    def tensor(self, name: str) -> TensorProto:
        """The weight `name`, its bytes perhaps still in a file."""
        return self._weights[name]

    def array(self, name: str) -> Array:
        """The values of the weight `name`."""
        copy = TensorProto()
        copy.CopyFrom(self._weights[name])
        if copy.data_location == TensorProto.EXTERNAL:
            place = str((self.folder / self.config.decoder).parent)
            load_external_data_for_tensor(copy, place)
        values: Array = numpy_helper.to_array(copy)
        return values

    def put(self, name: str, values: Array, kind: int | None = None, dims: Any = None) -> str:
        """Set or add a weight; `kind` and `dims` where `values` are its bytes as they are kept."""
        made = numpy_helper.from_array(np.ascontiguousarray(values), name)
        if kind is not None:
            made = TensorProto(name=name, data_type=kind, dims=dims, raw_data=values.tobytes())
        if name in self._weights:
            self._weights[name].CopyFrom(made)
        else:
            self._weights[name] = self.model.graph.initializer.add()
            self._weights[name].CopyFrom(made)
        return name

    def insert_before(self, node: NodeProto, new: NodeProto) -> None:
        """Put `new` in front of `node`."""
        self.model.graph.node.insert(self.nodes.index(node), new)

    def replace(self, old: NodeProto, new: NodeProto) -> None:
        """Put `new` where the node `old` stood."""
        self.insert_before(old, new)
        self.model.graph.node.remove(old)

    def maker(self, value: str) -> NodeProto | None:
        """The node that makes `value`."""
        return next((node for node in self.nodes if value in node.output), None)

    def head(self) -> NodeProto | None:
        """The MatMul that makes the logits, before what scales, caps or casts them."""
        node = self.maker(self.config.logits)
        while node is not None and node.op_type in _THROUGH:
            node = next(filter(None, map(self.maker, node.input)), None)
        return node if node is not None and node.op_type in weights.MULTIPLIERS else None

    def save(self, folder: Path) -> None:
        """Write graph and weights into `folder`; weights that no node reads are left out."""
        self._drop_unused()
        path = folder / self.config.decoder
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.with_name(f"{path.name}.data")
        with data.open("wb") as file:
            for tensor in self.model.graph.initializer:
                values = self._bytes(tensor)
                if values is None:
                    continue
                alignment = _PAGE if len(values) >= _LARGE_BYTES else _ALIGNMENT
                file.write(b"\0" * (-file.tell() % alignment))
                offset = file.tell()
                file.write(values)
                tensor.raw_data = b""  # set_external_data refuses tensors without it
                set_external_data(tensor, data.name, offset, len(values))
                tensor.ClearField("raw_data")
        onnx.save(self.model, path)

    def _bytes(self, tensor: TensorProto) -> bytes | None:
        """The bytes of a weight that belongs in the file of weights; None for a small one."""
        if tensor.data_location == TensorProto.EXTERNAL:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            load_external_data_for_tensor(copy, str((self.folder / self.config.decoder).parent))
            return bytes(copy.raw_data)
        is_large = tensor.HasField("raw_data") and len(tensor.raw_data) >= _INLINE_BYTES
        return bytes(tensor.raw_data) if is_large else None

    def _drop_unused(self) -> None:
        read = {name for node in self.nodes for name in node.input}
        read |= {value.name for value in self.model.graph.output}
        for tensor in list(self.model.graph.initializer):
            if tensor.name not in read:
                self.model.graph.initializer.remove(tensor)
        self._weights = {tensor.name: tensor for tensor in self.model.graph.initializer}


def attribute(node: NodeProto, name: str, default: int = 0) -> int:
    """The whole number that `node` has as the attribute `name`."""
    return next((int(each.i) for each in node.attribute if each.name == name), default)


def set_attribute(node: NodeProto, name: str, value: int | str) -> None:
    """Give `node` the attribute `name`."""
    for each in list(node.attribute):
        if each.name == name:
            node.attribute.remove(each)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def with_weight(graph: Graph, nodes: list[NodeProto], place: int) -> Iterator[NodeProto]:
    """Those of `nodes` whose input number `place` is a weight of two dimensions."""
    for node in nodes:
        name = node.input[place] if len(node.input) > place else ""
        if graph.has(name) and len(graph.tensor(name).dims) == 2:
            yield node
