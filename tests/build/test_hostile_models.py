"""Whatever the files of a model hold, the answer is a verdict and never a traceback."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.errors import InvalidModel
from build.findings import Findings
from build.options import Options
from build.source import Source
from build.validate import Model, validate
from edge.bundle import Lineage

QUICK = Options(trial=False)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = [
    "model",
    "model.type",
    "model.context_length",
    "model.eos_token_id",
    "model.vocab_size",
    "model.decoder",
    "model.decoder.filename",
    "model.decoder.head_size",
    "model.decoder.num_hidden_layers",
    "model.decoder.inputs",
    "model.decoder.inputs.past_key_names",
    "model.decoder.outputs",
    "model.decoder.session_options",
    "model.decoder.session_options.provider_options",
    "search",
    "search.do_sample",
    "search.temperature",
    "search.repetition_penalty",
]
often = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def pristine(demo_model, tmp_path_factory):
    """An MLflow model whose files are replaced and restored."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(demo_model, folder / "onnx")
    pyfunc = {"artifacts": {"onnx": {"path": "onnx"}}, "config": {}, "model_code_path": "x.py"}
    signed = {"inputs": '[{"type": "string", "name": "prompt"}]', "outputs": None, "params": None}
    model = {"flavors": {"python_function": pyfunc}, "signature": signed}
    (folder / "MLmodel").write_text(json.dumps(model))  # JSON is YAML
    return folder


def judge(folder, name, content):
    """Validate with one file replaced."""
    path = folder / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    findings = Findings()
    try:
        model = validate(Source(folder, Lineage(), "m"), QUICK, findings)
    except InvalidModel as error:
        findings.problems = list(error.problems)
        model = None
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    assert isinstance(model, Model) == (findings.problems == [])
    assert all(isinstance(problem, str) and problem for problem in findings.problems)
    return model


def test_the_pristine_model_is_good(pristine):
    name = "onnx/genai_config.json"
    assert judge(pristine, name, (pristine / name).read_bytes()) is not None


@often
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_at_any_place_of_the_configuration(pristine, place, value):
    data = json.loads((pristine / "onnx/genai_config.json").read_text())
    *sections, key = place.split(".")
    node = data
    for section in sections:
        node = node[section]
    node[key] = value
    judge(pristine, "onnx/genai_config.json", json.dumps(data).encode())


@often
@given(
    name=st.sampled_from(["genai_config.json", "tokenizer_config.json", "tokenizer.json"]),
    value=JSON
    | st.fixed_dictionaries({"chat_template": JSON, "added_tokens": JSON, "model": JSON}),
)
def test_any_json_in_any_file(pristine, name, value):
    judge(pristine, f"onnx/{name}", json.dumps(value).encode())


@often
@given(
    name=st.sampled_from(["genai_config.json", "tokenizer_config.json", "model.onnx"]),
    content=st.binary(max_size=200),
)
def test_any_bytes_in_any_file(pristine, name, content):
    judge(pristine, f"onnx/{name}", content)


@often
@given(key=st.sampled_from(["inputs", "outputs", "params"]), value=JSON, as_text=st.booleans())
def test_any_signature(pristine, key, value, as_text):
    data = json.loads((pristine / "MLmodel").read_text())
    data["signature"][key] = json.dumps(value) if as_text else value
    judge(pristine, "MLmodel", json.dumps(data).encode())


@often
@given(key=st.sampled_from(["artifacts", "config", "python_model", "model_code_path"]), value=JSON)
def test_any_flavor(pristine, key, value):
    data = json.loads((pristine / "MLmodel").read_text())
    data["flavors"]["python_function"][key] = value
    judge(pristine, "MLmodel", json.dumps(data).encode())


@often
@given(config=st.dictionaries(st.sampled_from(["temperature", "stop", "seed", "top_k"]), JSON))
def test_any_setting(pristine, config):
    data = json.loads((pristine / "MLmodel").read_text())
    data["flavors"]["python_function"]["config"] = config
    judge(pristine, "MLmodel", json.dumps(data).encode())


@often
@given(requirements=st.text(max_size=60), example=st.binary(max_size=60))
def test_any_papers(pristine, requirements, example):
    (pristine / "input_example.json").write_bytes(example)
    judge(pristine, "requirements.txt", requirements.encode("utf-8", "surrogatepass"))
    (pristine / "input_example.json").unlink()
