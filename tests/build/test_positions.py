"""Graphs that are asked for the logits of chosen tokens."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime_genai as og
import pytest
from onnx import TensorProto, helper

from build import decoder, genai_config, positions
from build.findings import Findings
from edge.engine.ort import Binding, RunOptions, Session, Tensor

PROMPT = np.arange(300, 320, dtype=np.int32)


@pytest.fixture
def opened(demo_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(demo_model, folder)
    positions.choose(folder / "model.onnx")
    return folder


def logits(folder, chosen=None):
    """The logits of the whole prompt in one run, as the graph gives them."""
    session = Session(folder / "model.onnx", threads=1, spin=False)
    binding = Binding(session)
    ids = PROMPT.astype(np.int64).reshape(1, -1)
    binding.input("input_ids", Tensor.over(ids))
    binding.input("attention_mask", Tensor.over(np.ones_like(ids)))
    head_size = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"][
        "head_size"
    ]
    kept = []
    for port in session.inputs:
        if port.name.startswith("past_"):
            kept.append(np.zeros((1, port.shape[1], 64, head_size), np.float32))
            binding.input(port.name, Tensor.over(kept[-1]))
            binding.output(port.name.replace("past_key_values", "present"), Tensor.over(kept[-1]))
    if chosen is not None:
        binding.input(positions.INPUT, Tensor.over(np.array(chosen, np.int64)))
    vocab = session.outputs[0].shape[2]
    found = np.zeros((len(chosen or [-1]), 1, vocab), np.float32)
    binding.output("logits", Tensor.over(found))
    session.run(binding, RunOptions())
    session.close()
    return found[:, 0]


def test_without_the_input_the_last_token_is_what_it_was(demo_model, opened):
    assert np.allclose(logits(opened), logits(demo_model), atol=1e-5)


def test_chosen_tokens_have_their_logits(opened):
    every = logits(opened, list(range(-len(PROMPT), 0)))
    assert every.shape[0] == len(PROMPT)
    assert np.allclose(every[-1], logits(opened)[0], atol=1e-5)
    for place in (-1, -3, -20):
        assert np.allclose(logits(opened, [place])[0], every[place], atol=0.2)
    assert np.abs(every[3] - every[4]).max() > 1


def test_onnxruntime_genai_says_what_it_said(demo_model, opened):
    said = []
    for folder in (demo_model, opened):
        model = og.Model(str(folder))
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=60, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(PROMPT)
        for _ in range(20):
            generator.generate_next_token()
        said.append(generator.get_sequence(0).tolist())
    assert said[0] == said[1]


def test_a_second_time_changes_nothing(opened):
    before = (opened / "model.onnx").read_bytes()
    positions.choose(opened / "model.onnx")
    assert (opened / "model.onnx").read_bytes() == before


def test_the_graph_is_valid_and_its_weights_stay_where_they_are(demo_model, opened):
    assert {path.name for path in opened.iterdir()} == {path.name for path in demo_model.iterdir()}
    weights = "model.onnx.data"
    assert (opened / weights).read_bytes() == (demo_model / weights).read_bytes()


def test_a_graph_with_every_logit_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "model.onnx"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", 8])
        for name in ("hidden", "logits")
    ]
    node = helper.make_node("Relu", ["hidden"], ["logits"])
    onnx.save(helper.make_model(helper.make_graph([node], "whole", ports[:1], ports[1:])), path)
    before = path.read_bytes()
    with pytest.raises(positions.NotPruned):
        positions.choose(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]


def test_a_head_that_the_factory_pruned_is_opened_too(opened, tmp_path):
    """It is gathered by a list of one index, with nothing behind it to restore a dimension."""
    model = onnx.load(opened / "model.onnx", load_external_data=False)
    graph = model.graph
    (reshape,) = [node for node in graph.node if "prune/Unsqueeze" in node.name]
    (gather,) = [node for node in graph.node if "prune/Gather" in node.name]
    for node in graph.node:
        node.input[:] = [
            gather.output[0] if name == reshape.output[0] else name for name in node.input
        ]
    graph.node.remove(reshape)
    (index,) = [tensor for tensor in graph.initializer if tensor.name == positions.INPUT]
    index.name = gather.input[1] = "last"
    graph.input.pop()
    onnx.save(model, opened / "model.onnx")
    before = logits(opened)
    positions.choose(opened / "model.onnx")
    assert np.allclose(logits(opened), before, atol=1e-5)
    assert logits(opened, [-3, -1]).shape[0] == 2


def test_such_a_model_is_sealed_like_any_other(opened, tmp_path):
    """The factory's checks take the input for what it is, one that nobody has to give."""
    config = genai_config.read(opened, findings := Findings())
    assert decoder.read(opened, config, findings) is not None
    assert findings.problems == []
