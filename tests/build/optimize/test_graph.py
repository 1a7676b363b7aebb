"""A graph that is read, changed and written again."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from build.optimize.graph import attribute, set_attribute
from build.optimize.source import read_config
from tests.build.optimize.conftest import CHAT


def test_a_graph_that_was_only_written_again_gives_the_same_logits(
    demo_model, opened, runner, tmp_path
):
    opened(demo_model).save(tmp_path / "copy")
    for path in demo_model.glob("*.json*"):
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    read_config(tmp_path / "copy")  # the graph and its weights fit together
    first, second = runner(demo_model).logits(CHAT), runner(tmp_path / "copy").logits(CHAT)
    np.testing.assert_array_equal(first, second)


def test_the_written_folder_is_no_larger(demo_model, opened, tmp_path):
    opened(demo_model).save(tmp_path)
    before = (demo_model / "model.onnx.data").stat().st_size
    after = (tmp_path / "model.onnx.data").stat().st_size
    assert after <= before * 1.01


def test_a_weight_is_read_from_its_file_and_can_be_replaced(demo_model, opened, tmp_path):
    graph = opened(demo_model)
    name = "cos_cache"
    values = graph.array(name)
    assert values.shape == (2048, 32)
    np.testing.assert_allclose(values[0], 1)
    graph.put(name, values + 1)
    graph.save(tmp_path)
    (tmp_path / "genai_config.json").write_bytes((demo_model / "genai_config.json").read_bytes())
    np.testing.assert_array_equal(opened(tmp_path).array(name), values + 1)


def test_weights_that_nothing_reads_are_left_out(demo_model, opened, tmp_path):
    graph = opened(demo_model)
    graph.put("orphan", np.zeros(4096, dtype=np.float32))
    assert graph.has("orphan")
    graph.save(tmp_path)
    names = {t.name for t in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert "orphan" not in names
    assert "cos_cache" in names


def test_large_weights_begin_at_a_page(stock, opened, tmp_path):
    opened(stock).save(tmp_path)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    entries = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer]
    large = [e for e in entries if e and int(e["length"]) >= 1 << 20]
    assert large
    assert all(int(entry["offset"]) % 4096 == 0 for entry in large)


def test_the_head_is_found_behind_what_scales_caps_or_casts_it(stock, opened):
    graph = opened(stock)
    head = graph.head()
    assert attribute(head, "N") == graph.config.vocab_size
    head.output[0] = "before"
    cast = onnx.helper.make_node("Cast", ["before"], ["logits"], to=1)
    graph.model.graph.node.append(cast)
    assert graph.head() == head


def test_a_graph_whose_logits_come_from_elsewhere_has_no_head(stock, opened):
    graph = opened(stock)
    graph.head().output[0] = "before"
    graph.model.graph.node.append(onnx.helper.make_node("Softmax", ["before"], ["logits"]))
    assert graph.head() is None


def test_an_attribute_is_set_once(demo_model, opened):
    node = opened(demo_model).of_type("MatMulNBits")[0]
    set_attribute(node, "block_size", 7)
    assert attribute(node, "block_size") == 7
    assert sum(each.name == "block_size" for each in node.attribute) == 1
    assert attribute(node, "absent", 3) == 3


@pytest.mark.parametrize("place", ["before", "instead"])
def test_a_node_is_put_where_it_is_wanted(demo_model, opened, place):
    graph = opened(demo_model)
    old = graph.nodes[5]
    new = onnx.helper.make_node("Identity", ["a"], ["b"])
    count, name = len(graph.nodes), old.name
    if place == "before":
        graph.insert_before(old, new)
        assert (graph.nodes[5], graph.nodes[6].name) == (new, name)
        assert len(graph.nodes) == count + 1
    else:
        graph.replace(old, new)
        assert graph.nodes[5] == new
        assert len(graph.nodes) == count
