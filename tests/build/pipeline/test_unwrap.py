"""Base models that peft's wrappers got into."""

import json

import numpy as np
from safetensors.numpy import load_file

from build.pipeline import unwrap, weights
from tests.build.pipeline.conftest import write_tensors

OWN = {
    "model.q.base_layer.weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "lm_head.original_module.weight": np.ones((3,), np.float16),
    "model.base_layer_norm.weight": np.zeros((2,), np.float16),
}
ADDED = {
    "model.q.lora_A.default.weight": np.ones((1, 3), np.float16),
    "model.embed.lora_embedding_A.default": np.ones((1, 3), np.float16),
    "lm_head.modules_to_save.default.weight": np.ones((3,), np.float16),
}
PLAIN = ("model.q.weight", "lm_head.weight", "model.base_layer_norm.weight")


def test_a_single_file(tmp_path, findings):
    write_tensors(tmp_path / weights.SINGLE, {**ADDED, **OWN})
    found = weights.read(tmp_path, findings)
    assert unwrap.is_wrapped(found)
    done = unwrap.unwrap(found, tmp_path / "out")
    assert not unwrap.is_wrapped(done)
    read = load_file(tmp_path / "out" / weights.SINGLE)  # the library finds it well-formed
    for name, value in zip(PLAIN, OWN.values(), strict=True):
        np.testing.assert_array_equal(read[name], value)
    assert read.keys() == set(PLAIN)
    assert weights.read(tmp_path / "out", findings) == done
    assert findings.problems == []


def test_shards(tmp_path, findings):
    write_tensors(tmp_path / "one.safetensors", ADDED)
    write_tensors(tmp_path / "two.safetensors", OWN)
    places = dict.fromkeys(ADDED, "one.safetensors") | dict.fromkeys(OWN, "two.safetensors")
    (tmp_path / weights.INDEX).write_text(json.dumps({"weight_map": places}))
    done = unwrap.unwrap(weights.read(tmp_path, findings), tmp_path / "out")
    assert set(done.all) == set(PLAIN)
    whole = json.loads((tmp_path / "out" / weights.INDEX).read_text())["weight_map"]
    assert whole == dict.fromkeys(PLAIN, "two.safetensors")


def test_weights_of_their_own_are_left_alone(tmp_path, findings):
    write_tensors(tmp_path / weights.SINGLE, dict.fromkeys(PLAIN, np.ones((2,), np.float16)))
    assert not unwrap.is_wrapped(weights.read(tmp_path, findings))
