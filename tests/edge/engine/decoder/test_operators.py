"""Operators by the wire format, held against the `onnx` package."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from edge.engine.decoder import operators


def test_the_demo_model_has_what_onnx_says(demo_model):
    path = demo_model / "model.onnx"
    graph = onnx.load(path, load_external_data=False).graph
    assert operators.count(path) == Counter(node.op_type for node in graph.node)


@given(st.lists(st.sampled_from(["Add", "If", "GroupQueryAttention", "Ünicode"]), max_size=30))
def test_any_graph_is_counted(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    nodes = [helper.make_node(name, ["x"], ["y"], domain="com.example") for name in names]
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    graph = helper.make_graph(nodes, "g", [], [], [weights])
    onnx.save(helper.make_model(graph), path)
    assert operators.count(path) == Counter(names)


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_a_graph_that_is_cut_short_is_an_error(demo_model, tmp_path, cut):
    whole = (demo_model / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[:-cut])
    with pytest.raises(ValueError, match=r"cut short|protocol buffer"):
        operators.count(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"\xff" * 64, b"not a graph at all, but text"])
def test_what_is_no_graph_is_an_error(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="graph"):
        operators.count(tmp_path / "model.onnx")
