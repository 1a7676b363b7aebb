"""The KV cache in int8."""

from __future__ import annotations

import numpy as np
import onnx

from build.optimize import cache
from tests.build.optimize.conftest import CHAT, TEXT

IDS = tuple(range(20, 84))


def test_scales_are_the_largest_magnitudes_of_each_channel(demo_model, opened):
    import onnxruntime_genai as og

    scales = cache.calibrate(opened(demo_model), IDS)
    assert len(scales) == 4
    assert {each.keys.shape for each in scales} == {(4 * 64,)}
    params = og.GeneratorParams(model := og.Model(str(demo_model)))
    params.set_search_options(max_length=len(IDS) + 1, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array(IDS, dtype=np.int32))
    keys = generator.get_output("present.2.key")[0, :, : len(IDS)]
    values = generator.get_output("present.2.value")[0, :, : len(IDS)]
    for found, cached in ((scales[2].keys, keys), (scales[2].values, values)):
        largest = np.abs(cached).max(axis=1).reshape(-1)
        np.testing.assert_allclose(found, largest / 127, rtol=1e-6)


def test_a_channel_that_is_always_zero_has_a_scale():
    assert (cache._scale(np.zeros((1, 2, 5, 3), dtype=np.float16)) > 0).all()


def test_the_graph_takes_and_gives_int8(demo_model, opened, retuned):
    folder = retuned(demo_model, "kv8")
    graph = opened(folder)
    assert cache.is_int8(graph)
    for group in (graph.model.graph.input, graph.model.graph.output):
        kinds = {
            value.type.tensor_type.elem_type
            for value in group
            if "past" in value.name or "present" in value.name
        }
        assert kinds == {onnx.TensorProto.INT8}
    for node in graph.of_type("GroupQueryAttention"):
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert values["k_quant_type"] == values["v_quant_type"] == b"PER_CHANNEL"
        assert values["kv_cache_bit_width"] == 8
        assert graph.array(node.input[12]).shape == graph.array(node.input[13]).shape == (256,)


def test_logits_stay_close_and_answers_the_same(demo_model, retuned, runner):
    before, after = runner(demo_model), runner(retuned(demo_model, "kv8"))
    for text in (CHAT, TEXT):
        first, second = before.logits(text)[-1], after.logits(text)[-1]
        assert np.abs(first - second).max() < 0.1 * np.ptp(first)
    assert after.says(CHAT) == before.says(CHAT)


def test_a_token_takes_a_quarter_of_the_memory(demo_model, retuned):
    from build import decoder
    from build.findings import Findings
    from build.optimize.source import read_config

    def kv_bytes(folder):
        return decoder.read(folder, read_config(folder), Findings()).kv_bytes_per_token

    assert kv_bytes(retuned(demo_model, "kv8")) * 4 == kv_bytes(demo_model)


def test_only_a_cache_of_plain_numbers_fits(demo_model, opened, retuned):
    assert cache.is_fit(opened(demo_model))
    assert not cache.is_fit(opened(retuned(demo_model, "kv8")))
    graph = opened(demo_model)
    graph.of_type("GroupQueryAttention")[0].op_type = "MultiHeadAttention"
    assert not cache.is_fit(graph)
