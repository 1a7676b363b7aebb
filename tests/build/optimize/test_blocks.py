"""MatMuls in other blocks, or in blocks for the first time."""

from __future__ import annotations

import numpy as np
import pytest

from build.optimize import blocks
from build.optimize.graph import attribute
from tests.build.optimize.conftest import CHAT


def weight_of(graph, place=0):
    return blocks._weight(graph, blocks.quantized(graph)[place])


@pytest.mark.parametrize(("size", "most_error"), [(64, 0.16), (128, 0.19), (256, 0.21)])
def test_coarser_blocks_lose_a_little_more(stock, opened, size, most_error):
    graph = opened(stock)
    before = weight_of(graph)
    blocks.requantize(graph, size)
    after = weight_of(graph)
    error = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert 0 < error < most_error
    assert {attribute(node, "block_size") for node in blocks.quantized(graph)} == {size}
    assert blocks.coarsest(graph) == size


def test_blocks_of_the_same_size_stay_as_they_are(stock, opened):
    graph = opened(stock)
    names = [name for node in blocks.quantized(graph) for name in node.input[1:3]]
    before = [graph.array(name) for name in names]
    blocks.requantize(graph, 32)
    for name, values in zip(names, before, strict=True):
        np.testing.assert_array_equal(graph.array(name), values)


def test_plain_weights_become_what_the_model_builder_makes_of_them(plain, stock, opened):
    graph, theirs = opened(plain), opened(stock)
    for node in blocks.plain(graph):
        blocks.quantize(graph, node, 32, 4)
    assert not blocks.plain(graph)
    ours = {node.output[0]: node for node in blocks.quantized(graph)}
    assert set(ours) == {node.output[0] for node in blocks.quantized(theirs)}
    for node in blocks.quantized(theirs):
        own = ours[node.output[0]]
        for name in ("K", "N", "bits", "block_size", "accuracy_level"):
            assert attribute(own, name) == attribute(node, name)
        scales, other = graph.array(own.input[2]), theirs.array(node.input[2])
        np.testing.assert_allclose(scales, other, rtol=1e-5)
        same = graph.array(own.input[1]) == theirs.array(node.input[1])
        assert same.mean() > 0.995


def test_weights_with_zero_points_are_read_right(exported, plain, opened):
    graph, original = opened(exported("int4", is_symmetric="false")), opened(plain)
    node = blocks.quantized(graph)[0]
    assert len(node.input) > 3
    (own,) = [n for n in blocks.plain(original) if n.output[0] == node.output[0]]
    truth = original.array(own.input[1]).T
    error = np.linalg.norm(weight_of(graph) - truth) / np.linalg.norm(truth)
    assert error < 0.12
    blocks.requantize(graph, 64)
    node = blocks.quantized(graph)[0]
    assert not any(node.input[3:])
    again = np.linalg.norm(weight_of(graph) - truth) / np.linalg.norm(truth)
    assert error < again < 0.2


def test_int8_weights_are_read_and_kept_in_int8(exported, plain, opened):
    graph = opened(exported("int4", matmul_mixed_precision="last_matmul:int8"))
    last = graph.head()
    assert attribute(last, "bits") == 8
    original = opened(plain)
    truth = original.array(original.head().input[1]).T
    assert np.abs(blocks._weight(graph, last) - truth).max() < np.abs(truth).max() / 100
    blocks.requantize(graph, 64)
    assert attribute(graph.head(), "bits") == 8


@pytest.mark.parametrize("name", ["b64", "b128"])
def test_the_model_still_answers(stock, retuned, runner, name):
    assert runner(retuned(stock, name)).says(CHAT).startswith("The capital of Spain is Madrid.")


@pytest.mark.parametrize("name", ["b32", "b128+last8", "last8"])
def test_a_plain_model_answers_after_it_was_quantized(plain, retuned, runner, name):
    folder = retuned(plain, name)
    assert runner(folder).says(CHAT).startswith("The capital of Spain is Madrid.")
    data = "model.onnx.data"
    assert (folder / data).stat().st_size < 0.9 * (plain / data).stat().st_size


def test_reordered_columns_are_noticed(stock, opened):
    graph = opened(stock)
    assert not blocks.is_grouped(graph)
    blocks.quantized(graph)[0].input.extend(["", "some_order"])
    assert blocks.is_grouped(graph)
