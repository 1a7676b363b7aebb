"""What is read from an ONNX graph about its weights."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build import weights
from build.errors import InvalidModel


def tensor(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.TensorProto:
    zeros = np.zeros(shape, dtype=helper.tensor_dtype_to_np_dtype(kind))
    return numpy_helper.from_array(zeros, name)


def quantized_matmul(name: str, bits: int = 4, block_size: int = 32) -> onnx.NodeProto:
    """64 inputs, 16 outputs: 1024 weights."""
    return helper.make_node(
        "MatMulNBits",
        ["x", f"{name}.q", f"{name}.scales", f"{name}.zeros"],
        [f"{name}.y"],
        domain="com.microsoft",
        K=64,
        N=16,
        bits=bits,
        block_size=block_size,
        accuracy_level=4,
    )


def stored(name: str) -> list[onnx.TensorProto]:
    packed = tensor(f"{name}.q", 16, 2, 16, kind=TensorProto.UINT8)
    zeros = tensor(f"{name}.zeros", 16, kind=TensorProto.UINT8)
    return [packed, tensor(f"{name}.scales", 16, 2), zeros]


def save(
    path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]
) -> weights.Weights:
    graph = helper.make_graph(nodes, "decoder", [], [], tensors)
    onnx.save(helper.make_model(graph), path)
    return weights.read(path)


def test_a_quantized_matmul_counts_its_weights_and_not_their_scales(tmp_path: Path) -> None:
    found = save(tmp_path / "model.onnx", [quantized_matmul("a")], stored("a"))
    assert found.parameters == 64 * 16
    assert (found.precision, found.block_size, found.accuracy_level) == ("int4", 32, 4)
    assert found.operators == {"MatMulNBits": 1}
    assert found.embedding_precision == ""


def test_the_precision_of_most_weights_is_the_model_s(tmp_path: Path) -> None:
    nodes = [
        quantized_matmul("a", bits=8),
        quantized_matmul("b", block_size=128),
        quantized_matmul("c", block_size=128),
    ]
    found = save(tmp_path / "model.onnx", nodes, [*stored("a"), *stored("b"), *stored("c")])
    assert (found.precision, found.block_size) == ("int4", 128)
    assert found.parameters == 3 * 64 * 16


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProto.FLOAT, "fp32"), (TensorProto.FLOAT16, "fp16")]
)
def test_plain_weights_count_by_their_shape(tmp_path: Path, kind: int, name: str) -> None:
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "bias"], ["z"]),
    ]
    tensors = [tensor("embedding", 100, 8, kind=kind), tensor("w", 8, 8, kind=kind)]
    found = save(tmp_path / "model.onnx", nodes, [*tensors, tensor("bias", 8, kind=kind)])
    assert found.parameters == 800 + 64 + 8
    assert (found.precision, found.embedding_precision, found.block_size) == (name, name, 0)


def test_a_packed_embedding_is_unpacked_before_counting(tmp_path: Path) -> None:
    lookup = helper.make_node(
        "GatherBlockQuantized", ["table", "ids", "scales"], ["x"], domain="com.microsoft", bits=4
    )
    packed = [tensor("table", 100, 4, kind=TensorProto.UINT8), tensor("scales", 100, 1)]
    found = save(tmp_path / "packed.onnx", [lookup], packed)
    assert (found.parameters, found.embedding_precision) == (800, "int4")


def test_weights_shared_by_embedding_and_head_count_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["shared", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "shared"], ["logits"]),
    ]
    assert save(tmp_path / "model.onnx", nodes, [tensor("shared", 10, 4)]).parameters == 40


def test_tables_of_rotary_positions_are_no_weights(tmp_path: Path) -> None:
    attention = helper.make_node(
        "GroupQueryAttention",
        ["q", "", "", "k", "v", "a", "b", "cos", "sin"],
        ["y"],
        domain="com.microsoft",
    )
    tables = [tensor("cos", 2048, 32), tensor("sin", 2048, 32), tensor("norm", 8)]
    assert save(tmp_path / "model.onnx", [attention], tables).parameters == 8


def test_numbers_of_the_graph_s_own_are_no_weights(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    numbers = [tensor("shape", 3, kind=TensorProto.INT64)]
    assert save(tmp_path / "model.onnx", [node], numbers).parameters == 0


def test_the_demo_model_is_int4_throughout(demo_model: Path) -> None:
    found = weights.read(demo_model / "model.onnx")
    assert (found.precision, found.embedding_precision) == ("int4", "int4")
    assert found.block_size == 128
    assert 1_000_000 < found.parameters < 6_500_000
    stored_bytes = (demo_model / "model.onnx.data").stat().st_size
    assert found.parameters / 2 < stored_bytes < found.parameters


@pytest.mark.parametrize("content", [b"\xff\xff\xff\xff", None])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidModel, match=r"model\.onnx is no ONNX graph"):
        weights.read(path)
