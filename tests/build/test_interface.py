"""The promise of a logged model to its callers."""

from importlib.metadata import version

import pytest
from mlflow.models import ModelSignature
from mlflow.models.utils import _enforce_params_schema

from build import interface
from build.pyfunc import Settings


def test_the_signature_is_prompt_to_string() -> None:
    said = interface.signature().to_dict()
    assert said["inputs"] == '[{"type": "string", "name": "prompt", "required": true}]'
    assert said["outputs"] == '[{"type": "string", "required": true}]'


def test_the_params_are_those_of_the_model_class() -> None:
    params = interface.signature().params.params
    assert [(param.name, param.dtype.name) for param in params] == [
        ("max_tokens", "long"),
        ("temperature", "double"),
        ("top_p", "double"),
        ("top_k", "long"),
        ("stop", "string"),
        ("seed", "long"),
    ]
    assert {param.name for param in params} < set(Settings.__dataclass_fields__)


def test_a_param_that_is_left_out_leaves_the_model_s_default() -> None:
    schema = interface.signature().params
    filled = _enforce_params_schema({"max_tokens": 5}, schema)
    assert filled == {
        "max_tokens": 5,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "stop": [],
        "seed": None,
    }
    assert Settings().updated(filled) == Settings(max_tokens=5)


def test_the_signature_survives_the_mlmodel_file() -> None:
    signature = interface.signature()
    assert ModelSignature.from_dict(signature.to_dict()) == signature


def test_the_example_fits_the_signature() -> None:
    rows, params = interface.example()
    assert list(rows.columns) == ["prompt"]
    assert len(rows) == 1
    assert _enforce_params_schema(dict(params), interface.signature().params)["temperature"] == 0


@pytest.mark.parametrize("package", ["mlflow", "onnxruntime-genai", "onnxruntime", "numpy"])
def test_requirements_are_pinned_to_what_is_installed(package: str) -> None:
    assert f"{package}=={version(package)}" in interface.requirements()


def test_torch_is_not_required() -> None:
    names = {line.partition("==")[0] for line in interface.requirements()}
    assert not names & {"torch", "transformers"}
