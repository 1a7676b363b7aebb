"""What can be changed in an ONNX folder, what cannot, and that the folder itself stays."""

from __future__ import annotations

import hashlib

import pytest

from build.errors import InvalidModel
from build.optimize import retune, variant
from build.weights import read
from tests.build.optimize.conftest import CHAT


def obstacles(graph, name):
    return list(retune.obstacles(graph, retune.effective(graph, variant.parse(name))))


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("b128+embed+head", "stock"),
        ("b128+embed+head+kv8", "kv8"),
        ("acc4", "stock"),
        ("acc1+head", "acc1"),
        ("b256+head", "b256"),
        ("b64", "b64"),
    ],
)
def test_what_the_graph_has_already_is_not_asked_of_it(demo_model, opened, asked, left):
    found = retune.effective(opened(demo_model), variant.parse(asked))
    assert found.name == left


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("b64", "b64: what blocks of 128 rounded away is not in the graph any more"),
        ("kquant", "the search for codes needs the weights before they were rounded"),
        ("rtn", "those of Hugging Face"),
        ("last8", "int8 cannot bring back what the last MatMul lost"),
    ],
)
def test_what_was_rounded_away_cannot_be_brought_back(demo_model, opened, name, said):
    (problem,) = obstacles(opened(demo_model), name)
    assert said in problem


def test_every_obstacle_is_told(demo_model, opened):
    graph = opened(demo_model)
    assert len(obstacles(graph, "b64+last8+kquant+head")) == 3
    graph.of_type("GroupQueryAttention")[0].op_type = "Attention"
    graph.head().op_type = "Softmax"
    graph.model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "sequence_length"
    graph.of_type("GatherBlockQuantized")[0].op_type = "Lookup"
    told = obstacles(graph, "head+kv8+embed")
    assert [problem.partition(":")[0] for problem in told] == ["embed", "head", "kv8"]


def test_a_graph_without_quantized_weights_has_no_accuracy_level(plain, opened):
    assert obstacles(opened(plain), "acc1") == ["acc1: the graph has no quantized MatMul"]
    assert obstacles(opened(plain), "b32+acc1") == []


def test_reordered_columns_stay_as_they_are(stock, opened):
    graph = opened(stock)
    graph.of_type("MatMulNBits")[0].input.extend(["", "order"])
    (problem,) = obstacles(graph, "b128")
    assert "g_idx" in problem


def test_nothing_is_written_where_something_cannot_be(demo_model, retuned, tmp_path):
    with pytest.raises(InvalidModel, match="blocks of 128"):
        retuned(demo_model, "b64+kv8")
    assert not (tmp_path / "b64+kv8").exists()


def test_the_source_stays_and_everything_else_comes_along(demo_model, retuned):
    before = digests(demo_model)
    out = retuned(demo_model, "acc1+kv8")
    assert digests(demo_model) == before
    after = digests(out)
    assert set(after) == set(before)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"model.onnx", "model.onnx.data"}


def test_several_changes_at_once(stock, retuned, runner):
    out = retuned(stock, "b128+embed+head+acc1")
    stored = read(out / "model.onnx")
    assert (stored.precision, stored.embedding_precision) == ("int4", "int4")
    assert (stored.block_size, stored.accuracy_level) == (128, 1)
    assert stored.parameters == read(stock / "model.onnx").parameters
    assert len(runner(out).logits(CHAT)) == 1
    assert runner(out).says(CHAT).startswith("The capital of Spain is Madrid.")
    size = sum(path.stat().st_size for path in out.iterdir())
    assert size < 0.6 * sum(path.stat().st_size for path in stock.iterdir())
