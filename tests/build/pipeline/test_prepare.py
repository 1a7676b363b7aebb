"""Weights as they will be served: whichever kind there is, with an adapter or without."""

import json

import numpy as np
import pytest

from build.options import Options
from build.pipeline import prepare, weights
from build.pipeline.places import Places
from build.source import Source
from edge.bundle import Lineage
from tests.build.pipeline.tensor_files import read_tensors, write_tensors

BASE = {"q.weight": np.ones((3, 4), np.float16)}
PAIR = {
    "base_model.model.q.lora_A.weight": np.ones((2, 4), np.float16),
    "base_model.model.q.lora_B.weight": np.ones((3, 2), np.float16),
}


@pytest.fixture
def places(tmp_path):
    """A folder with weights, and one with an adapter for them."""
    for name in ("model", "peft"):
        (tmp_path / name).mkdir()
    write_tensors(tmp_path / "model" / weights.SINGLE, BASE)
    write_tensors(tmp_path / "peft" / "adapter_model.safetensors", PAIR)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(config))
    return Places(tmp_path, tmp_path / "model", tmp_path / "model", tmp_path / "peft")


@pytest.fixture
def read(places, findings, tmp_path):
    def go(left_behind=(), **options):
        source = Source(places.root, Lineage(), "m", left_behind=left_behind)
        return prepare.read(places, source, Options(**options), tmp_path / "work", findings)

    return go


def test_safetensors_as_they_are(read, places, findings):
    found = read()
    assert (found.folder, found.files) == (places.weights, (weights.SINGLE,))
    assert (findings.problems, findings.shims) == ([], [])


def test_pickles_beside_them_are_only_named(read, places, findings):
    (places.weights / "pytorch_model.bin").write_bytes(b"never opened")
    assert read(left_behind=("model/optimizer.pt",)).files == (weights.SINGLE,)
    assert findings.shims == [
        "optimizer.pt, pytorch_model.bin may hold pickles: left out, not opened"
    ]


def test_pickles_alone_are_refused_wherever_they_are(read, places, findings):
    (places.weights / weights.SINGLE).unlink()
    assert read(left_behind=("model/pytorch_model.bin",)) is None
    assert "the weights are pickled (pytorch_model.bin)" in findings.problems[0]
    assert "--allow-pickle reads the tensors alone" in findings.problems[0]


def test_pickles_under_a_name_of_their_own(read, places, findings):
    (places.weights / weights.SINGLE).rename(places.weights / "consolidated.pth")
    assert read(allow_pickle=True) is None
    assert "consolidated.pth are no weights of transformers" in findings.problems[0]


def test_no_weights(read, places, findings):
    (places.weights / weights.SINGLE).unlink()
    assert read() is None
    assert findings.problems[0].startswith("the model has no weights, expected model.safetensors")


def test_whole_numbers_are_no_weights(read, places, findings):
    write_tensors(places.weights / weights.SINGLE, {"q.weight": np.ones((3, 4), np.int8)})
    read()
    assert findings.problems == ["the weights are of the type I8, expected F32, F16, BF16"]


def test_an_adapter_is_merged_into_a_copy(read, places, findings, tmp_path):
    done = prepare.merged(read(), places, tmp_path / "work", findings)
    assert done.folder == tmp_path / "work" / "merged"
    (value,) = read_tensors(done.folder / weights.SINGLE).values()
    assert (value == 1 + 2 * 2).all()
    assert (read_tensors(places.weights / weights.SINGLE)["q.weight"] == 1).all()
    assert findings.shims == ["the LoRA adapter was merged into 1 tensors"]


def test_wrappers_of_peft_are_taken_off_first(read, places, findings, tmp_path):
    added = np.ones((2, 4), np.float16)
    wrapped = {"q.base_layer.weight": BASE["q.weight"], "q.lora_A.default.weight": added}
    write_tensors(places.weights / weights.SINGLE, wrapped)
    done = prepare.merged(read(), places, tmp_path / "work", findings)
    assert set(read_tensors(done.folder / weights.SINGLE)) == {"q.weight"}
    assert "the base model was saved in peft's wrappers, which are left out" in findings.shims


def test_a_model_with_problems_is_not_merged(read, places, findings, tmp_path):
    base = read()
    findings.problems.append("something else")
    assert prepare.merged(base, places, tmp_path / "work", findings) is base
    assert not (tmp_path / "work" / "merged").exists()


def test_an_adapter_that_does_not_fit_is_a_problem(read, places, findings, tmp_path):
    base, added = read(), np.ones((2,), np.float32)
    write_tensors(places.adapter / "adapter_model.safetensors", {"base_model.model.z": added})
    prepare.merged(base, places, tmp_path / "work", findings)
    assert findings.problems == [
        "the adapter does not fit the base model: the base has no tensor z"
    ]


def test_an_adapter_whose_file_is_cut_short(read, places, findings, tmp_path):
    path = places.adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    prepare.merged(read(), places, tmp_path / "work", findings)
    assert "adapter_model.safetensors was cut short" in findings.problems[0]


def test_without_an_adapter_nothing_happens(read, places, findings, tmp_path):
    base = read()
    alone = Places(places.root, places.weights, places.tokenizer)
    assert prepare.merged(base, alone, tmp_path / "work", findings) is base
