"""Pickled weights made safetensors, and pickles that hold more than weights."""

import json
import pickle
import sys

import numpy as np
import pytest
import torch

from build.errors import InvalidModel
from build.pipeline import pickled, weights
from tests.build.pipeline.conftest import read_tensors

pytestmark = pytest.mark.torch
SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


@pytest.fixture
def tensors():
    """A matrix, its transposed view, and one that shares its memory, as tied weights do."""
    first = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    return {"a": first, "b": first.T, "tied": first}


@pytest.fixture
def converted(tmp_path, monkeypatch, capsys):
    """Run the module's own command in this process; returns the problems it prints."""

    def go():
        (tmp_path / "out").mkdir(exist_ok=True)
        monkeypatch.setattr(sys, "argv", ["pickled", str(tmp_path), str(tmp_path / "out")])
        assert pickled.main() == 0
        return json.loads(capsys.readouterr().out)["problems"]

    return go


def test_in_a_process_of_its_own(tmp_path, tensors, findings):
    torch.save(tensors, tmp_path / pickled.SINGLE)
    pickled.convert(tmp_path, tmp_path / "out")
    found = read_tensors(tmp_path / "out" / weights.SINGLE)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value.numpy())
    assert weights.read(tmp_path / "out", findings).precision == "fp16"


def test_shards_and_their_index(tmp_path, tensors, converted, findings):
    places = {"a": SHARDS[0], "b": SHARDS[0], "tied": SHARDS[1]}
    for shard in SHARDS:
        held = {name: tensors[name] for name, place in places.items() if place == shard}
        torch.save(held, tmp_path / shard)
    (tmp_path / pickled.INDEX).write_text(json.dumps({"weight_map": places}))
    assert pickled.is_there(tmp_path)
    assert converted() == []
    found = weights.read(tmp_path / "out", findings)
    assert findings.problems == []
    assert set(found.all) == set(tensors)
    assert found.shards == tuple(f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


def test_a_pickle_that_would_do_harm_does_none(tmp_path, converted):
    marker = tmp_path / "marker"
    poison = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    (tmp_path / pickled.SINGLE).write_bytes(poison)
    (problem,) = converted()
    assert "pytorch_model.bin holds more than weights, or is broken" in problem
    assert not marker.exists()
    pickle.loads(poison)  # the poison works
    assert marker.exists()


@pytest.mark.parametrize("held", [[1, 2], {"a": 3}])
def test_a_pickle_of_something_else(tmp_path, converted, held):
    torch.save(held, tmp_path / pickled.SINGLE)
    assert converted() == ["pytorch_model.bin is no mapping of names to tensors"]


@pytest.mark.parametrize("name", ["../x.bin", "absent.bin"])
def test_an_index_that_names_what_is_not_there(tmp_path, converted, name):
    (tmp_path / pickled.INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    assert converted() == [f"{name}, which {pickled.INDEX} names, is not in the folder"]


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "find_spec", lambda name: None)
    with pytest.raises(InvalidModel, match="--allow-pickle needs torch and safetensors"):
        pickled.convert(tmp_path, tmp_path / "out")


def test_a_process_that_dies(tmp_path):
    (tmp_path / pickled.INDEX).write_text("no index")
    with pytest.raises(InvalidModel, match=r"reading the pickled weights failed \(status 1\)"):
        pickled.convert(tmp_path, tmp_path / "out")
