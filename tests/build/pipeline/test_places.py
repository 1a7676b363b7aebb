"""Where weights, tokenizer and adapter of a model lie."""

import pytest

from build.errors import InvalidModel
from build.options import Options
from build.pipeline import places
from build.pipeline.flavor import Flavor
from build.source import Source
from edge.bundle import Lineage


@pytest.fixture
def find(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")

    def go(**said):
        source = Source(tmp_path, Lineage(), "x")
        return places.find(source, Flavor(**{"weights": "model", **said}), Options())

    return go


def test_a_tokenizer_beside_the_weights_or_in_its_component(find, tmp_path):
    assert find().tokenizer == tmp_path / "model"
    (tmp_path / "components" / "tokenizer").mkdir(parents=True)
    found = find()
    assert (found.weights, found.tokenizer) == (
        tmp_path / "model",
        tmp_path / "components" / "tokenizer",
    )
    assert found.homes == {folder: folder for folder in (tmp_path, found.weights, found.tokenizer)}


def test_a_base_model_in_a_folder_of_this_machine(find, demo_weights, findings):
    said = {"weights": "", "base": str(demo_weights), "source": "x"}
    assert find(**said).weights == demo_weights
    places.note(Flavor(**said), findings)
    assert findings.shims == ["the weights were taken from the folder weights"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"weights": "../model"}, "names the folder '../model', which leaves the model's folder"),
        ({"weights": "pipeline"}, "the model has no pipeline/config.json"),
        ({"peft": "peft"}, "names an adapter in peft/, which is not in the model"),
        ({"weights": "", "base": "/nowhere/at/all"}, "the folder all, which this machine does not"),
        ({"peft": "/etc"}, "names the folder '/etc', which leaves"),
    ],
)
def test_what_is_not_there(find, said, told):
    with pytest.raises(InvalidModel) as caught:
        find(**said)
    assert told in str(caught.value)


def test_everything_that_is_absent_is_said_together(find):
    with pytest.raises(InvalidModel) as caught:
        find(weights="gone", peft="gone-too", tokenizer_source="/nowhere/tok")
    assert len(caught.value.problems) == 3
