"""Which graphs fit, and why the others do not: on doctored copies of the model in the box."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.engine import ort
from edge.engine.decoder import graph
from edge.engine.decoder.graph import Misfit
from edge.engine.ort import Port
from tests.edge.engine.decoder import families
from tests.edge.engine.decoder.driving import GREEDY, load, prompt_of, run

CONTEXT = 2048
PAST = "past_key_values.2.key"


@pytest.fixture
def folder(demo_model, tmp_path):
    """A copy whose configuration and graph may be changed; the weights are shared."""
    for name in ("genai_config.json", "model.onnx"):
        (tmp_path / name).write_bytes((demo_model / name).read_bytes())
    (tmp_path / "model.onnx.data").hardlink_to(demo_model / "model.onnx.data")
    return tmp_path


@pytest.fixture(scope="module")
def session(demo_model):
    opened = ort.Session(demo_model / "model.onnx", threads=1, spin=False)
    yield opened
    opened.close()


def configure(folder, change):
    """Let `change` have the `model` section of the folder's configuration."""
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    change(config["model"])
    path.write_text(json.dumps(config))


def doctor(folder, change):
    """Let `change` have the graph of the folder's model."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    change(model.graph)
    (folder / "model.onnx").unlink()
    onnx.save(model, folder / "model.onnx")


def why(folder):
    with pytest.raises(Misfit) as caught:
        graph.read(folder)
    return str(caught.value)


def test_the_model_in_the_box_fits(demo_model, session):
    found = graph.read(demo_model)
    assert (found.layers, found.kv_heads, found.head_size, found.vocab_size) == (4, 4, 64, 3072)
    assert found.model == demo_model / "model.onnx"
    assert found.window == 0
    sizes = graph.shape(found, session.inputs, session.outputs, 700)
    assert (sizes.layers, sizes.kv_heads, sizes.context, sizes.head_size) == (4, 4, 700, 64)
    assert sizes.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m["decoder"].update(pipeline=[{"stage": {}}]), "has a pipeline"),
        (lambda m: m.update(encoder={"filename": "e.onnx"}), "has a part encoder"),
        (lambda m: m.update(vision={"filename": "v.onnx"}), "has a part vision"),
        (lambda m: m.update(speech={"filename": "s.onnx"}), "has a part speech"),
        (lambda m: m.update(embedding={"filename": "e.onnx"}), "has a part embedding"),
        (lambda m: m.pop("decoder"), "describes no decoder: KeyError('decoder')"),
        (lambda m: m.update(decoder=None), "describes no decoder: TypeError"),
        (lambda m: m["decoder"].pop("head_size"), "head_size: expected a number above 0, got None"),
        (lambda m: m["decoder"].update(head_size="64"), "head_size: expected a number above 0"),
        (lambda m: m["decoder"].update(num_hidden_layers=0), "num_hidden_layers: expected"),
        (lambda m: m["decoder"].pop("num_key_value_heads"), "num_key_value_heads: expected"),
        (lambda m: m.pop("vocab_size"), "vocab_size: expected a number above 0, got None"),
        (lambda m: m["decoder"].update(num_hidden_layers=5), "4 of 5 layers have GroupQuery"),
        (lambda m: m["decoder"].update(num_hidden_layers=3), "4 of 3 layers have GroupQuery"),
        (lambda m: m["decoder"].update(filename="other.onnx"), "operators cannot be read"),
    ],
)
def test_a_configuration_that_does_not_fit(folder, change, reason):
    configure(folder, change)
    assert reason in why(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model": 3}', "{}"])
def test_a_configuration_that_is_none(folder, content):
    path = folder / "genai_config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert "genai_config.json describes no decoder" in why(folder)


@pytest.mark.parametrize("missing", ["genai_config.json", "model.onnx"])
def test_a_reason_holds_no_path(folder, missing):
    """It stands in an answer to whoever asks for the version."""
    (folder / missing).unlink()
    assert "/" not in why(folder)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        ({"window_size": 64}, "sliding_window with slide_key_value_cache"),
        ({"window_size": 64, "slide_key_value_cache": True}, "with slide_key_value_cache"),
        ({"window_size": 64, "slide_key_value_cache": False}, "with slide_inputs"),
        (
            {"slide_key_value_cache": False, "slide_inputs": False, "layers": [0]},
            "window_size: expected a number above 0",
        ),
    ],
)
def test_a_window_that_the_runtime_must_slide(folder, window, reason):
    configure(folder, lambda model: model["decoder"].update(sliding_window=window))
    assert reason in why(folder)


def test_a_window_that_the_operator_keeps(folder, session):
    """The cache then holds a window's tokens at least: the operator demands that."""
    window = {"slide_key_value_cache": False, "slide_inputs": False, "window_size": 300}
    for layers, expected in (([1, 3], 300), ([], 100)):
        section = window | {"layers": layers}
        configure(folder, lambda model, own=section: model["decoder"].update(sliding_window=own))
        sizes = graph.shape(graph.read(folder), session.inputs, session.outputs, 100)
        assert sizes.context == expected


def test_attention_of_another_kind(folder):
    def change(found):
        attention = [node for node in found.node if node.op_type == "GroupQueryAttention"]
        attention[2].op_type = "MultiHeadAttention"

    doctor(folder, change)
    assert why(folder) == "3 of 4 layers have GroupQueryAttention"


@pytest.mark.parametrize("name", ["If", "Loop", "Scan"])
def test_control_flow(folder, name):
    doctor(folder, lambda found: found.node.append(helper.make_node(name, ["x"], ["y"])))
    assert why(folder) == f"the graph has control flow: {name}"


def test_a_graph_that_is_cut_short(folder):
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-100])
    assert why(folder) == "its operators cannot be read: the graph is cut short"


def changed(ports, name, **change):
    """The ports with one of them changed."""
    assert name in {port.name for port in ports}
    return tuple(replace(port, **change) if port.name == name else port for port in ports)


def without(ports, name):
    assert name in {port.name for port in ports}
    return tuple(port for port in ports if port.name != name)


def positions(dtype, *shape):
    return Port("position_ids", np.dtype(dtype), shape)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: (*p, Port("past.0.conv", np.dtype(np.float32), (1,))), "asks for past.0.conv"),
        (lambda p: without(p, "attention_mask"), "has no input attention_mask"),
        (lambda p: without(p, PAST), f"has no input {PAST}"),
        (lambda p: changed(p, PAST, dtype=np.dtype(np.uint8)), f"{PAST} is uint8 ['batch_size'"),
        (lambda p: changed(p, PAST, dtype=None), f"{PAST} is of an unknown type"),
        (lambda p: changed(p, PAST, dtype=np.dtype(np.float16)), "several types: float16, float32"),
        (lambda p: changed(p, PAST, shape=("b", 8, "s", 64)), "'s', 64], expected float32 or"),
        (lambda p: changed(p, PAST, shape=("b", 64, "s", 4)), "['any', 4, 'any', 64]"),
        (
            lambda p: changed(p, PAST, shape=("b", 4, "s", 32)),
            f"{PAST} is float32 ['b', 4, 's', 32]",
        ),
        (lambda p: changed(p, PAST, shape=("b", 4, "s")), f"{PAST} is float32 ['b', 4, 's']"),
        (lambda p: changed(p, PAST, shape=(1, 4, "s", 64)), f"{PAST} is float32 [1, 4, 's', 64]"),
        (lambda p: changed(p, PAST, shape=("b", 4, 99, 64)), f"{PAST} is float32 ['b', 4, 99, 64]"),
        (lambda p: changed(p, "input_ids", dtype=np.dtype(np.int32)), "input_ids is int32"),
        (lambda p: changed(p, "input_ids", shape=(1, "s")), "input_ids is int64 [1, 's']"),
        (lambda p: changed(p, "attention_mask", dtype=np.dtype(np.int32)), "attention_mask is int"),
        (lambda p: (*p, positions(np.int64, 3, "b", "s")), "position_ids is int64 [3, 'b', 's']"),
        (lambda p: (*p, positions(np.int32, "b", "s")), "position_ids is int32"),
    ],
)
def test_inputs_that_do_not_fit(demo_model, session, change, reason):
    with pytest.raises(Misfit) as caught:
        graph.shape(graph.read(demo_model), change(session.inputs), session.outputs, CONTEXT)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: without(p, "logits"), "has no output logits"),
        (lambda p: without(p, "present.3.value"), "has no output present.3.value"),
        (
            lambda p: changed(p, "logits", shape=("b", 1, 3000)),
            "expected float32 or float16 ['any', 1, 3072]",
        ),
        (lambda p: changed(p, "logits", shape=("b", 3072)), "logits is float32 ['b', 3072]"),
        (lambda p: changed(p, "logits", shape=("b", 2, 3072)), "logits is float32 ['b', 2, 3072]"),
        (lambda p: changed(p, "logits", dtype=None), "logits is of an unknown type"),
    ],
)
def test_outputs_that_do_not_fit(demo_model, session, change, reason):
    with pytest.raises(Misfit) as caught:
        graph.shape(graph.read(demo_model), session.inputs, change(session.outputs), CONTEXT)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (*p, positions(np.int64, "b", "s")),
        lambda p: changed(p, PAST, shape=("b", "heads", "s", "")),
    ],
    ids=["positions", "free sizes"],
)
def test_inputs_that_fit(demo_model, session, change):
    sizes = graph.shape(graph.read(demo_model), change(session.inputs), session.outputs, 99)
    assert sizes.context == 99


def test_logits_for_every_position_fit(demo_model, session):
    outputs = changed(session.outputs, "logits", shape=("b", "s", 3072))
    assert graph.shape(graph.read(demo_model), session.inputs, outputs, 99).context == 99


def test_an_extra_output_is_left_alone(demo_model, session):
    outputs = (*session.outputs, Port("hidden_states", None, ()))
    assert graph.shape(graph.read(demo_model), session.inputs, outputs, 99).context == 99


def rename(found, names):
    """Give values of the graph other names, wherever they stand."""
    for value in (*found.input, *found.output):
        value.name = names.get(value.name, value.name)
    for node in found.node:
        for values in (node.input, node.output):
            for place, value in enumerate(values):
                values[place] = names.get(value, value)


def test_ports_of_other_names(folder, demo_model):
    """As the configuration tells them; the answer is the same."""
    names = {"input_ids": "tokens", "attention_mask": "mask", "logits": "scores"}
    for layer in range(4):
        for part in ("key", "value"):
            names[f"past_key_values.{layer}.{part}"] = f"{part}_in_{layer}"
            names[f"present.{layer}.{part}"] = f"{part}_out_{layer}"
    doctor(folder, lambda found: rename(found, names))

    def change(model):
        model["decoder"]["inputs"] = {
            "input_ids": "tokens",
            "attention_mask": "mask",
            "past_key_names": "key_in_%d",
            "past_value_names": "value_in_%d",
        }
        model["decoder"]["outputs"] = {
            "logits": "scores",
            "present_key_names": "key_out_%d",
            "present_value_names": "value_out_%d",
        }

    configure(folder, change)
    answers = []
    for model in (folder, demo_model):
        engine = load(model, slots=1)
        row = engine.open(prompt_of(20, engine.limits), 12, GREEDY)
        answers += run(engine, [row], 12)
        engine.shutdown()
    assert answers[0] == answers[1]


def test_names_that_the_configuration_leaves_out(folder, session):
    configure(
        folder, lambda model: (model["decoder"].pop("inputs"), model["decoder"].pop("outputs"))
    )
    assert graph.shape(graph.read(folder), session.inputs, session.outputs, 9).context == 9


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plain-attention", "0 of 2 layers have GroupQueryAttention"),
        ("switching", "the graph has control flow: If"),
    ],
)
def test_exports_for_another_engine(exports, name, reason):
    assert why(exports / name) == reason


@pytest.mark.torch
def test_a_cache_never_has_less_room_than_the_window(exports):
    engine = load(exports / "gemma2", slots=2, row_tokens=10)
    assert engine._runs._arena.shape.context >= families.WINDOW
    assert len(run(engine, [engine.open(prompt_of(3, engine.limits), 7, GREEDY)], 7)[0]) <= 7
    engine.shutdown()
