"""One file or shards, and what is wrong with them."""

import json

import numpy as np
import pytest

from build.pipeline import weights
from tests.build.pipeline.conftest import write_tensors

HALF = {"model.a": np.ones((2, 3), np.float16), "model.b": np.zeros((5,), np.float16)}
REST = {"lm_head.weight": np.ones((4, 2), np.float16)}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def sharded(tmp_path):
    """Two shards and their index, which takes other entries."""

    def make(**entries):
        for name, tensors in zip(SHARDS, (HALF, REST), strict=True):
            write_tensors(tmp_path / name, tensors)
        places = dict.fromkeys(HALF, SHARDS[0]) | dict.fromkeys(REST, SHARDS[1]) | entries
        kept = {name: shard for name, shard in places.items() if shard}
        (tmp_path / weights.INDEX).write_text(json.dumps({"weight_map": kept}))
        return tmp_path

    return make


def test_a_single_file(tmp_path, findings):
    write_tensors(tmp_path / weights.SINGLE, {**HALF, **REST})
    found = weights.read(tmp_path, findings)
    assert found.files == (weights.SINGLE,)
    assert (found.parameters, found.dtype, found.precision) == (19, "F16", "fp16")


def test_shards(sharded, findings):
    found = weights.read(sharded(), findings)
    assert findings.problems == []
    assert found.files == (*SHARDS, weights.INDEX)
    assert set(found.all) == {*HALF, *REST}
    assert found.parameters == 19


def test_a_single_file_goes_before_an_index(sharded, findings):
    folder = sharded()
    write_tensors(folder / weights.SINGLE, REST)
    assert weights.read(folder, findings).files == (weights.SINGLE,)


@pytest.mark.parametrize(("kind", "name"), [("float32", "fp32"), ("bfloat16", "bf16")])
def test_precisions(tmp_path, findings, kind, name):
    import ml_dtypes

    value = np.ones((8,), getattr(ml_dtypes, kind, None) or kind)
    small = np.ones((2,), np.float16)
    write_tensors(tmp_path / weights.SINGLE, {"a": value, "b": small})
    assert weights.read(tmp_path, findings).precision == name


def refused(folder, findings):
    assert weights.read(folder, findings) is None
    return "\n".join(findings.problems)


def test_a_shard_that_is_missing_and_one_that_was_cut(sharded, findings):
    folder = sharded()
    (folder / SHARDS[0]).unlink()
    (folder / SHARDS[1]).write_bytes((folder / SHARDS[1]).read_bytes()[:-2])
    told = refused(folder, findings)
    assert f"{SHARDS[0]} is missing: the weights are not whole" in told
    assert f"{SHARDS[1]} was cut short" in told


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"model.c": SHARDS[0]}, "places tensors in shards that do not have them: model.c"),
        ({"model.a": SHARDS[1]}, "places tensors in shards that do not have them: model.a"),
        ({"model.b": None}, "does not list tensors that the shards have: model.b"),
        ({"model.b": "../b.safetensors"}, "names '../b.safetensors', which leaves the folder"),
    ],
)
def test_an_index_that_disagrees(sharded, findings, entries, told):
    assert told in refused(sharded(**entries), findings)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_an_index_that_is_none(sharded, findings, text):
    folder = sharded()
    (folder / weights.INDEX).write_text(text)
    assert weights.INDEX in refused(folder, findings)


def test_a_pointer_is_no_weight(tmp_path, findings):
    (tmp_path / weights.SINGLE).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x")
    assert "is a Git LFS pointer" in refused(tmp_path, findings)


def test_floats_of_8_bits_need_a_gpu(tmp_path, findings):
    header = {"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    (tmp_path / weights.SINGLE).write_bytes(len(text).to_bytes(8, "little") + text + b"12")
    assert "8-bit floats (a), which needs a GPU" in refused(tmp_path, findings)


def test_a_file_without_tensors(tmp_path, findings):
    write_tensors(tmp_path / weights.SINGLE, {})
    assert refused(tmp_path, findings) == "the weights hold no tensors"


def test_no_weights_at_all(tmp_path, findings):
    assert not weights.has_safetensors(tmp_path)
    assert "model.safetensors is missing" in refused(tmp_path, findings)
