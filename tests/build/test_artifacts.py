"""Finding the ONNX model by the artifacts' paths."""

import pytest

from build import artifacts
from build.errors import InvalidModel
from build.mlmodel import Artifact, MlModel


def model_of(**paths):
    entries = tuple(Artifact(key, path) for key, path in paths.items())
    return MlModel(flavors=("python_function",), artifacts=entries)


@pytest.fixture
def place(tmp_path):
    """`place("a/b")` makes an onnxruntime-genai folder there."""

    def make(path):
        folder = tmp_path / path
        folder.mkdir(parents=True)
        (folder / "genai_config.json").write_text("{}")
        return folder

    return make


def test_by_path(tmp_path, place):
    folder = place("artifacts/cpu-int4")
    (tmp_path / "artifacts/notes").mkdir()
    found = artifacts.find(tmp_path, model_of(onnx="artifacts/cpu-int4", notes="artifacts/notes"))
    assert found == folder


def test_only_artifacts_count(tmp_path, place):
    place("code/elsewhere")
    folder = place("artifacts/x")
    assert artifacts.find(tmp_path, model_of(onnx="artifacts/x")) == folder


def test_below_the_artifact(tmp_path, place):
    folder = place("artifacts/repo/cpu_and_mobile/int4")
    assert artifacts.find(tmp_path, model_of(onnx="artifacts/repo")) == folder


def test_several_are_listed(tmp_path, place):
    place("artifacts/repo/cpu")
    place("artifacts/repo/cuda")
    with pytest.raises(
        InvalidModel, match=r"several ONNX models: onnx/cpu, onnx/cuda; .*--artifact"
    ):
        artifacts.find(tmp_path, model_of(onnx="artifacts/repo"))


@pytest.mark.parametrize("wanted", ["onnx/cpu", "other"])
def test_the_wanted_one_of_several(tmp_path, place, wanted):
    folders = {"onnx/cpu": place("artifacts/repo/cpu"), "other": place("artifacts/other/deep")}
    place("artifacts/repo/cuda")
    model = model_of(onnx="artifacts/repo", other="artifacts/other")
    assert artifacts.find(tmp_path, model, wanted) == folders[wanted]


@pytest.mark.parametrize("wanted", ["onnx", "nope", "onnx/"])
def test_a_wanted_one_that_is_not_there(tmp_path, place, wanted):
    place("artifacts/repo/cpu")
    place("artifacts/repo/cuda")
    with pytest.raises(InvalidModel, match=f"--artifact is {wanted!r}, expected one of: onnx/cpu"):
        artifacts.find(tmp_path, model_of(onnx="artifacts/repo"), wanted)


@pytest.mark.parametrize("path", ["../outside", "/etc", "a/../../b", "", "..\\x", "C:\\x"])
def test_paths_that_leave_the_model(tmp_path, path):
    with pytest.raises(InvalidModel, match=r"artifact 'onnx' is .* inside the model's folder"):
        artifacts.find(tmp_path, model_of(onnx=path))


def test_an_artifact_that_is_a_link_out(tmp_path, place):
    outside = place("outside")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "onnx").symlink_to(outside)
    with pytest.raises(InvalidModel, match="artifact 'onnx' is a link that leaves"):
        artifacts.find(tmp_path / "model", model_of(onnx="onnx"))


def test_a_bare_folder_is_itself(tmp_path, place):
    folder = place("bare")
    assert artifacts.find(folder, None) == folder
    assert artifacts.find(tmp_path, None) == folder


def test_an_empty_folder(tmp_path):
    with pytest.raises(InvalidModel, match=r"neither MLmodel nor genai_config\.json"):
        artifacts.find(tmp_path, None)


def test_a_model_without_artifacts_names_its_flavors(tmp_path):
    model = MlModel(flavors=("sklearn", "python_function"))
    with pytest.raises(InvalidModel, match="its flavors are sklearn, python_function"):
        artifacts.find(tmp_path, model)


def test_an_artifact_that_is_not_onnx_shows_what_it_is(tmp_path):
    (tmp_path / "artifacts/hf").mkdir(parents=True)
    (tmp_path / "artifacts/hf/model.safetensors").touch()
    (tmp_path / "artifacts/hf/config.json").touch()
    with pytest.raises(InvalidModel) as caught:
        artifacts.find(tmp_path, model_of(hf="artifacts/hf", gone="artifacts/gone"))
    assert "artifact 'hf' is not an ONNX model" in str(caught.value)
    assert "config.json, model.safetensors" in str(caught.value)
    assert "artifact 'gone' (artifacts/gone) is missing" in str(caught.value)


def test_a_single_file_is_no_model(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(InvalidModel, match=r"it has no genai_config.json, but model\.onnx"):
        artifacts.find(tmp_path, model_of(onnx="model.onnx"))
