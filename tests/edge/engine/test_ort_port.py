"""Ports, against small graphs made for the purpose and against onnxruntime's own words."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edge.engine import ort
from edge.engine.ort_port import DTYPES, Port


def saved(folder, node, inputs, outputs):
    """A session of a graph with the one `node`."""
    graph = helper.make_graph([node], "small", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "small.onnx")
    return ort.Session(folder / "small.onnx", threads=1, spin=False)


def identity(folder, element, shape):
    """A session of a graph that hands `x` on as `y`."""
    x, y = (helper.make_tensor_value_info(name, element, shape) for name in "xy")
    return saved(folder, helper.make_node("Identity", ["x"], ["y"]), [x], [y])


@pytest.mark.parametrize("element", DTYPES)
def test_element_types_are_those_of_onnx(tmp_path, element):
    session = identity(tmp_path, element, [2])
    expected = helper.tensor_dtype_to_np_dtype(element)
    assert session.inputs == (Port("x", expected, (2,)),)
    assert session.outputs == (Port("y", expected, (2,)),)


@pytest.mark.parametrize("element", [TensorProto.STRING, TensorProto.BFLOAT16])
def test_an_element_type_that_numpy_has_not(tmp_path, element):
    (port,) = identity(tmp_path, element, [3]).inputs
    assert port == Port("x", None, (3,))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([], ()),
        ([1], (1,)),
        ([0, 4], (0, 4)),
        (["batch", 4, "l\u00e4nge"], ("batch", 4, "l\u00e4nge")),
        ([None, 2, None], ("", 2, "")),
    ],
)
def test_dimensions_are_lengths_or_names(tmp_path, shape, expected):
    (port,) = identity(tmp_path, TensorProto.FLOAT, shape).inputs
    assert port == Port("x", np.dtype(np.float32), expected)


def test_names_may_hold_any_letter(tmp_path):
    x = helper.make_tensor_value_info("gr\u00f6\u00dfe.\u6570", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("", TensorProto.FLOAT, [1])
    y.name = "past/0:key"
    node = helper.make_node("Identity", [x.name], [y.name])
    session = saved(tmp_path, node, [x], [y])
    assert [p.name for p in (*session.inputs, *session.outputs)] == [x.name, y.name]


def test_a_port_that_is_no_tensor(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    session = saved(tmp_path, helper.make_node("SequenceConstruct", ["x"], ["y"]), [x], [y])
    assert session.outputs == (Port("y", None, ()),)


def test_the_ports_of_the_demo_model_are_what_onnxruntime_says(demo_model):
    path = demo_model / "model.onnx"
    session = ort.Session(path, threads=1, spin=False)
    plain = onnxruntime.InferenceSession(path)
    numpy_types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}

    def expected(arguments):
        return tuple(Port(a.name, np.dtype(numpy_types[a.type]), tuple(a.shape)) for a in arguments)

    assert session.inputs == expected(plain.get_inputs())
    assert session.outputs == expected(plain.get_outputs())
    assert session.inputs[0].name == "input_ids"
