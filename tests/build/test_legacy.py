"""What is said about models of a pickled class, from their papers alone."""

import json

import pytest

from build import legacy
from build.mlmodel import MlModel
from build.options import Options

SPECIAL = frozenset(("<|user|>", "<|end|>"))
PICKLED = MlModel(flavors=("python_function",), pickle="python_model.pkl")


@pytest.fixture
def review(tmp_path, findings):
    def run(model=PICKLED, example=None, **options):
        if example is not None:
            (tmp_path / "input_example.json").write_text(example)
        legacy.review(tmp_path, model, Options(**options), SPECIAL, findings)
        return findings

    return run


def test_the_pickle_is_named_and_its_settings_are_asked_for(review):
    found = review()
    assert found.shims == [
        "python_model.pkl holds a pickled Python class: it was not opened and stays behind; the "
        "appliance generates with the runtime's present API"
    ]
    assert found.advice[0] == (
        "settings inside python_model.pkl are unknown here; say them by flag, e.g. "
        "--max-tokens 300 --temperature 0.2"
    )
    assert found.problems == []


def test_what_was_said_is_not_asked_for(review):
    found = review(generation={"temperature": 0.2})
    assert found.advice[0].endswith("e.g. --max-tokens 300")


def test_nothing_is_left_to_say(review):
    found = review(generation={"temperature": 0.2, "max_tokens": 300}, prompt_format="raw")
    assert found.advice == []


def test_what_the_config_says_is_not_asked_for(review):
    config = {"max_length": 300, "temperature": 0.2}
    model = MlModel(flavors=("python_function",), pickle="python_model.pkl", config=config)
    assert len(review(model).advice) == 1


def test_models_from_code_need_no_shims(review):
    found = review(MlModel(flavors=("python_function",), code="pyfunc.py"))
    assert (found.shims, found.advice) == ([], [])


def test_an_example_in_template_form(review):
    example = json.dumps({"prompt": "<|user|>Tell me a joke<|end|>"})
    assert "in template form already" in review(example=example).advice[-1]


@pytest.mark.parametrize("example", [None, "{", json.dumps({"prompt": "Tell me a joke"})])
def test_an_example_that_tells_nothing(review, example):
    assert "how the pickled class wrapped a prompt is unknown" in review(example=example).advice[-1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("torch", "torch is among the model's requirements and is left out"),
        ("torch==2.3.0", "torch is among"),
        ("transformers>=4", "transformers is among"),
        ("onnxruntime-genai==0.2.0", "logged for onnxruntime-genai 0.2; the generate() API"),
        ("onnxruntime_genai==0.5.2", "logged for onnxruntime-genai 0.5"),
    ],
)
def test_requirements_of_the_past(review, line, told):
    model = MlModel(flavors=("python_function",), code="x.py", requirements=(line,))
    assert told in review(model).shims[0]


@pytest.mark.parametrize(
    "line", ["numpy", "onnxruntime-genai==0.18.0", "onnxruntime_genai", "torchlike", "-r other.txt"]
)
def test_requirements_of_no_concern(review, line):
    model = MlModel(flavors=("python_function",), code="x.py", requirements=(line,))
    assert review(model).shims == []
