"""Quantized embeddings."""

from __future__ import annotations

import numpy as np

from build.optimize import embedding
from tests.build.optimize.conftest import CHAT


def codes_of(graph, name):
    """A packed int4 tensor as numbers from -8 to 7, in the order in which they are kept."""
    raw = np.frombuffer(graph.tensor(name).raw_data, dtype=np.uint8)
    if not len(raw):
        return graph.array(name).astype(np.int8)
    both = np.stack((raw & 0xF, raw >> 4), axis=-1).reshape(-1).astype(np.int8)
    return np.where(both > 7, both - 16, both).reshape(graph.tensor(name).dims)


def test_each_entry_lies_within_a_step_of_what_it_was(stock, opened):
    graph = opened(stock)
    node = embedding.plain(graph)
    table = graph.array(node.input[0])
    embedding.quantize(graph, node, 32)
    (made,) = graph.of_type("GatherBlockQuantized")
    scales = graph.array(made.input[2])
    assert scales.shape == (3072, 256 // 32)
    step = np.repeat(scales, 32, axis=1)
    back = codes_of(graph, made.input[0]) * step
    assert (np.abs(back - table) <= np.abs(step) * 1.001).all()
    assert np.abs(back - table).mean() < np.abs(step).mean() * 0.3


def test_it_is_what_the_model_builder_makes(stock, exported, opened):
    graph = opened(stock)
    embedding.quantize(graph, embedding.plain(graph), 32)
    theirs = opened(exported("int4", op_types_to_quantize="MatMul/Gather"))
    (own,), (other,) = (g.of_type("GatherBlockQuantized") for g in (graph, theirs))
    assert {a.name: a.i for a in own.attribute} == {a.name: a.i for a in other.attribute}
    np.testing.assert_allclose(graph.array(own.input[2]), theirs.array(other.input[2]), rtol=1e-6)
    same = codes_of(graph, own.input[0]) == codes_of(theirs, other.input[0])
    assert same.mean() > 0.999


def test_the_folder_shrinks_and_the_answer_stays(stock, retuned, runner):
    after = retuned(stock, "embed")
    before_bytes = (stock / "model.onnx.data").stat().st_size
    table_bytes = 3072 * 256 * 4
    saved = before_bytes - (after / "model.onnx.data").stat().st_size
    assert saved > 0.8 * table_bytes
    assert runner(after).says(CHAT) == runner(stock).says(CHAT)


def test_a_quantized_table_is_known_as_such(demo_model, stock, opened):
    assert embedding.is_quantized(opened(demo_model))
    assert embedding.plain(opened(demo_model)) is None
    assert not embedding.is_quantized(opened(stock))
    assert embedding.plain(opened(stock)) is not None


def test_other_lookups_are_no_embeddings(stock, opened):
    graph = opened(stock)
    embedding.plain(graph).input[1] = "something_else"
    assert embedding.plain(graph) is None


def test_a_table_that_the_head_reads_too_stays_for_it(stock, opened, tmp_path):
    graph = opened(stock)
    node = embedding.plain(graph)
    name = node.input[0]
    graph.nodes[-1].input.append(name)
    embedding.quantize(graph, node, 32)
    graph.save(tmp_path)
    assert graph.has(name)
