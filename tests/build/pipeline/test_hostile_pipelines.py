"""Whatever the files of a pipeline hold, the answer is a verdict and never a traceback."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build import mlmodel
from build.errors import InvalidModel
from build.findings import Findings
from build.options import Options
from build.pipeline import flavor
from build.pipeline.model import Model
from build.pipeline.validate import validate
from build.source import Source
from edge.bundle import Lineage
from tests.build.pipeline.tensor_files import write_tensors

QUICK = Options(trial=False)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = {
    "model/config.json": [
        *("architectures", "model_type", "auto_map", "quantization_config", "text_config"),
        *("eos_token_id", "max_position_embeddings", "num_hidden_layers", "num_attention_heads"),
        *("head_dim", "hidden_size", "vocab_size", "is_encoder_decoder", "tie_word_embeddings"),
    ],
    "model/generation_config.json": [
        *("eos_token_id", "do_sample", "temperature", "top_k", "max_new_tokens", "max_length"),
        *("repetition_penalty", "num_beams", "stop", "return_full_text"),
    ],
    "model/tokenizer_config.json": ["eos_token", "auto_map", "chat_template"],
    "model/tokenizer.json": ["model", "added_tokens"],
    "peft/adapter_config.json": [
        *("r", "lora_alpha", "peft_type", "rank_pattern", "alpha_pattern", "use_dora"),
        *("init_lora_weights", "fan_in_fan_out", "target_parameters", "use_rslora"),
    ],
}
FLAVOR = [
    *("task", "inference_task", "model_binary", "source_model_name", "source_model_revision"),
    *("local_base_model_path", "peft_adaptor", "components", "tokenizer_name", "processor_type"),
]
often = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def pristine(demo_weights, tmp_path_factory):
    """An MLflow model with an adapter whose files are replaced and restored."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("model", "peft"):
        (folder / name).mkdir()
    for path in demo_weights.iterdir():
        if path.suffix != ".safetensors":
            (folder / "model" / path.name).write_bytes(path.read_bytes())
    write_tensors(folder / "model" / "model.safetensors", {"q.weight": np.ones((3, 4), np.float16)})
    pair = {"A": np.ones((2, 4), np.float16), "B": np.ones((3, 2), np.float16)}
    named = {f"base_model.model.q.lora_{side}.weight": value for side, value in pair.items()}
    write_tensors(folder / "peft" / "adapter_model.safetensors", named)
    adapter = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "peft" / "adapter_config.json").write_text(json.dumps(adapter))
    said = {"task": "text-generation", "model_binary": "model", "peft_adaptor": "peft"}
    signed = {"inputs": '[{"type": "string"}]', "outputs": '[{"type": "string"}]', "params": None}
    model = {"flavors": {"transformers": said, "python_function": {}}, "signature": signed}
    (folder / "MLmodel").write_text(json.dumps(model))  # JSON is YAML
    return folder


def judge(folder: Path, name: str, content: bytes, tmp_path_factory) -> Model | None:
    """Validate with one file replaced."""
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(content)
    findings, model = Findings(), None
    try:
        described = mlmodel.read(folder)
        if not flavor.is_pipeline(folder, described):
            return None
        source = Source(folder, Lineage(), "m")
        model = validate(source, QUICK, findings, tmp_path_factory.mktemp("work"))
    except InvalidModel as error:
        findings.problems = list(error.problems)
    finally:
        path.write_bytes(before)
    assert isinstance(model, Model) == (findings.problems == [])
    assert all(isinstance(problem, str) and problem for problem in findings.problems)
    return model


def test_the_pristine_model_is_good(pristine, tmp_path_factory):
    name = "model/config.json"
    model = judge(pristine, name, (pristine / name).read_bytes(), tmp_path_factory)
    assert model.weights.parameters == 12
    merged = (model.origins["model.safetensors"]).read_bytes()
    assert np.frombuffer(merged[-24:], np.float16).tolist() == [1 + 2 * 2.0] * 12


PLACES = [(name, key) for name, keys in KEYS.items() for key in keys]


@often
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_at_any_place(pristine, place, value, tmp_path_factory):
    name, key = place
    data = json.loads((pristine / name).read_text())
    judge(pristine, name, json.dumps({**data, key: value}).encode(), tmp_path_factory)


@often
@given(name=st.sampled_from(sorted(KEYS)), value=JSON)
def test_any_json_in_any_file(pristine, name, value, tmp_path_factory):
    judge(pristine, name, json.dumps(value).encode(), tmp_path_factory)


WEIGHTS = ["model/model.safetensors", "peft/adapter_model.safetensors"]


@often
@given(name=st.sampled_from([*sorted(KEYS), *WEIGHTS]), content=st.binary(max_size=200))
def test_any_bytes_in_any_file(pristine, name, content, tmp_path_factory):
    judge(pristine, name, content, tmp_path_factory)


@often
@given(name=st.sampled_from(WEIGHTS), header=st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_any_header(pristine, name, header, tmp_path_factory):
    text = json.dumps(header).encode()
    judge(pristine, name, len(text).to_bytes(8, "little") + text, tmp_path_factory)


@often
@given(key=st.sampled_from(FLAVOR), value=JSON)
def test_any_flavor(pristine, key, value, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    data = json.loads((pristine / "MLmodel").read_text())
    data["flavors"]["transformers"][key] = value
    judge(pristine, "MLmodel", json.dumps(data).encode(), tmp_path_factory)


@often
@given(side=st.sampled_from(["inputs", "outputs", "params"]), value=JSON, as_text=st.booleans())
def test_any_signature(pristine, side, value, as_text, tmp_path_factory):
    data = json.loads((pristine / "MLmodel").read_text())
    data["signature"][side] = json.dumps(value) if as_text else value
    judge(pristine, "MLmodel", json.dumps(data).encode(), tmp_path_factory)


@often
@given(
    config=st.dictionaries(st.sampled_from(["temperature", "stop", "do_sample", "top_k"]), JSON),
    metadata=st.dictionaries(st.sampled_from(["task", "prompt_template"]), JSON),
)
def test_any_setting(pristine, config, metadata, tmp_path_factory):
    data = json.loads((pristine / "MLmodel").read_text())
    data["flavors"]["python_function"]["config"] = config
    data["metadata"] = metadata
    judge(pristine, "MLmodel", json.dumps(data).encode(), tmp_path_factory)
