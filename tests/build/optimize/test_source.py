"""What `optimize` takes, and what it says of anything else."""

from __future__ import annotations

import pytest

from build.errors import InvalidModel, ToolMissing
from build.optimize import source


def test_an_onnx_folder_is_known_by_its_configuration(demo_model):
    found = source.find(demo_model)
    assert found.is_onnx
    assert found.config.layers == 4


def test_a_hugging_face_folder_is_known_by_its_weights(weights):
    pytest.importorskip("torch", reason="weights need torch to be exported")
    found = source.find(weights)
    assert (found.is_onnx, found.config) == (False, None)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InvalidModel, match=r"MODEL is '.*none', expected a folder"):
        source.find(tmp_path / "none")


def test_a_folder_that_is_neither(tmp_path):
    with pytest.raises(InvalidModel, match=r"neither config.json .* nor genai_config.json"):
        source.find(tmp_path)


def test_all_that_is_wrong_with_weights_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(InvalidModel) as refused:
        source.find(tmp_path)
    json, pickles, tokenizer = refused.value.problems
    assert json.startswith("config.json is not JSON")
    assert pickles.endswith("pickled weights are never opened: save the model as safetensors")
    assert "has no tokenizer" in tokenizer


def test_all_that_is_wrong_with_an_onnx_folder_is_told(onnx_folder, edit):
    edit(onnx_folder, "model.type", "gpt9")
    (onnx_folder / "model.onnx.data").unlink()
    with pytest.raises(InvalidModel) as refused:
        source.find(onnx_folder)
    assert len(refused.value.problems) == 2


def test_a_missing_package_is_named_with_the_way_to_get_it(weights, monkeypatch):
    monkeypatch.setattr(source, "NEEDED", ("json", "no_such_exporter"))
    with pytest.raises(ToolMissing, match=r"needs no-such-exporter, .* scripts/install demo"):
        source.find(weights)


def test_the_size_is_that_of_all_files(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "one").write_bytes(b"12345")
    (tmp_path / "below" / "two").write_bytes(b"123")
    assert source.size_bytes(tmp_path) == 8
