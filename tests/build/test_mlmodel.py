"""Reading MLmodel files, as MLflow writes them and otherwise."""

import pytest
import yaml

from build import mlmodel
from build.errors import InvalidModel
from build.mlmodel import Artifact


def write(folder, data, requirements=""):
    (folder / "MLmodel").write_text(yaml.safe_dump(data))
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    return mlmodel.read(folder)


def test_a_folder_without_the_file_is_no_mlflow_model(tmp_path):
    assert mlmodel.read(tmp_path) is None


def test_a_pickled_model(tmp_path):
    pyfunc = {
        "python_model": "python_model.pkl",
        "artifacts": {"phi3-mini-onnx": {"path": "artifacts/x", "uri": "/home/me/x"}},
    }
    data = {
        "flavors": {"python_function": pyfunc},
        "signature": {"inputs": "[]", "params": None},
        "model_id": "m-1",
        "run_id": "r1",
        "mlflow_version": "2.14.0",
    }
    found = write(tmp_path, data, "# pinned\nmlflow==2.14.0\n\ntorch\n")
    assert found.pickle == "python_model.pkl"
    assert found.code == ""
    assert found.artifacts == (Artifact("phi3-mini-onnx", "artifacts/x"),)
    assert (found.model_id, found.run_id, found.mlflow_version) == ("m-1", "r1", "2.14.0")
    assert found.requirements == ("mlflow==2.14.0", "torch")
    assert found.signature["inputs"] == "[]"


def test_models_from_code_with_a_config(tmp_path):
    pyfunc = {"model_code_path": "pyfunc.py", "config": {"max_tokens": 5}, "artifacts": None}
    found = write(tmp_path, {"flavors": {"python_function": pyfunc}, "metadata": {"task": "x"}})
    assert (found.pickle, found.code) == ("", "pyfunc.py")
    assert found.config == {"max_tokens": 5}
    assert found.metadata == {"task": "x"}
    assert found.artifacts == ()


def test_other_flavors_are_kept_by_name(tmp_path):
    found = write(tmp_path, {"flavors": {"transformers": {}, "python_function": {}}})
    assert set(found.flavors) == {"transformers", "python_function"}


def test_an_artifact_without_a_path_is_kept_to_be_refused(tmp_path):
    pyfunc = {"artifacts": {"a": {"uri": "x"}, "b": "text"}}
    found = write(tmp_path, {"flavors": {"python_function": pyfunc}})
    assert found.artifacts == (Artifact("a", ""), Artifact("b", ""))


@pytest.mark.parametrize("text", ["flavors: [", "\x00", "a: b: c"])
def test_not_yaml(tmp_path, text):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(InvalidModel, match="MLmodel is not YAML"):
        mlmodel.read(tmp_path)


def test_not_utf8(tmp_path):
    (tmp_path / "MLmodel").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InvalidModel, match="MLmodel is not YAML"):
        mlmodel.read(tmp_path)


@pytest.mark.parametrize("data", [[], "text", {}, {"flavors": None}, {"flavors": []}])
def test_no_flavors(tmp_path, data):
    with pytest.raises(InvalidModel, match="names no flavors"):
        write(tmp_path, data)


def test_python_tags_in_yaml_build_nothing(tmp_path):
    marker = tmp_path / "marker"
    text = f"flavors: !!python/object/apply:os.system ['touch {marker}']"
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(InvalidModel):
        mlmodel.read(tmp_path)
    assert not marker.exists()
