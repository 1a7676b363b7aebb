"""The folders of variants."""

from __future__ import annotations

import pytest

from build.errors import BuildFailed, InvalidModel
from build.optimize import source, variant
from build.optimize.source import Source
from build.optimize.variant import Variant
from build.optimize.workshop import Workshop


def test_the_stock_variant_of_an_onnx_folder_is_the_folder_itself(demo_model, tmp_path):
    workshop = Workshop(source.find(demo_model), tmp_path)
    assert workshop.make(Variant()) == demo_model
    assert list(tmp_path.iterdir()) == []


def test_a_variant_is_made_once(demo_model, tmp_path):
    workshop = Workshop(source.find(demo_model), tmp_path)
    folder = workshop.make(variant.parse("acc1"))
    assert folder.parent == tmp_path
    (folder / "mark").touch()
    assert workshop.make(variant.parse("acc1")) == folder
    assert (folder / "mark").exists()
    assert workshop.made == {variant.parse("acc1"): folder}


def test_a_variant_that_changes_nothing_is_refused(demo_model, tmp_path):
    workshop = Workshop(source.find(demo_model), tmp_path)
    assert not workshop.is_new(variant.parse("b128+embed+head"))
    assert workshop.is_new(variant.parse("b128+embed+head+acc1"))
    with pytest.raises(InvalidModel, match="nothing would change"):
        workshop.make(variant.parse("head"))


def test_of_weights_every_variant_but_stock_is_new(weights, tmp_path):
    workshop = Workshop(Source(weights, None), tmp_path)
    assert not workshop.is_new(Variant())
    assert workshop.is_new(variant.parse("b32"))


@pytest.mark.torch
def test_what_the_model_builder_refuses_is_told_in_its_own_words(weights, tmp_path, exported):
    broken = tmp_path / "weights"
    broken.mkdir()
    for path in weights.iterdir():
        (broken / path.name).symlink_to(path)
    (broken / "config.json").unlink()
    (broken / "config.json").write_text('{"model_type": "phi9"}')
    with pytest.raises(BuildFailed, match=r"the export of phi9 with block_size=64: ") as caught:
        Workshop(Source(broken, None), tmp_path).make(variant.parse("b64"))
    said = str(caught.value).split("ended with status 1 after saying:\n")[1]
    assert "phi9" in said
    assert "Traceback" not in said
    assert 'File "' not in said
    assert not (tmp_path / "b64").exists()
