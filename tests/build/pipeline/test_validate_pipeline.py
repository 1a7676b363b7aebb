"""A whole pipeline as it would be sealed, and what takes precedence in it."""

import json
import shutil

import numpy as np
import pytest
import yaml

from build.errors import InvalidModel
from build.model import Model as Sealable
from build.options import Options
from build.pipeline.validate import validate
from build.source import Source
from edge.bundle import Lineage
from tests.build.pipeline.tensor_files import read_tensors, write_tensors


@pytest.fixture
def check(findings, tmp_path):
    """`check(folder, **options)` is the model; `check.problems` is what was wrong instead."""

    def go(folder, **options):
        wanted = Options(trial=False, **options)
        return validate(Source(folder, Lineage(), "m"), wanted, findings, tmp_path / "work")

    return go


@pytest.fixture
def problems(check):
    def go(folder, **options):
        with pytest.raises(InvalidModel) as caught:
            check(folder, **options)
        return "\n".join(caught.value.problems)

    return go


@pytest.fixture
def mlflow_model(demo_weights, tmp_path):
    """An MLflow model around the weights, written by hand, whose flavor takes `changes`."""

    def make(config=None, metadata=None, **changes):
        folder = tmp_path / "logged"
        shutil.copytree(demo_weights, folder / "model", dirs_exist_ok=True)
        said = {"task": "text-generation", "model_binary": "model", **changes}
        signed = {"inputs": '[{"type": "string"}]', "outputs": '[{"type": "string"}]'}
        data = {
            "flavors": {"transformers": said, "python_function": {"config": config or {}}},
            "signature": {**signed, "params": None},
            "metadata": metadata or {},
            "model_id": "m-" + "0" * 32,
        }
        (folder / "MLmodel").write_text(yaml.safe_dump(data))
        return folder

    return make


def test_it_has_what_a_bundle_needs(check, demo_weights, findings):
    model: Sealable = check(demo_weights)
    assert (model.flavor, model.quantization, model.model_type) == ("pipeline", "fp16", "phi3")
    assert model.files == tuple(sorted(path.name for path in demo_weights.iterdir()))
    assert all(model.origin(name) == demo_weights / name for name in model.files)
    assert (model.adapters, model.remote_code, model.mlmodel) == ({}, False, None)
    assert model.runtimes == ("torch", "transformers")
    facts = findings.facts
    assert facts["architecture"] == "phi3 (Phi3ForCausalLM)"
    assert facts["weights"] == "fp16, 4,196,608 parameters"
    assert facts["files"].startswith("6 files, 8,")
    assert (facts["context"], facts["ends on"]) == ("2,048 tokens", "4, 0")
    assert facts["chat template"] == f"{len(model.chat_template):,} characters"


@pytest.mark.parametrize(("kind", "wide"), [(np.float32, 4), (np.float16, 2)])
def test_the_cache_is_counted_in_the_type_of_the_weights(check, hf_folder, kind, wide):
    path = hf_folder / "model.safetensors"
    write_tensors(path, {name: value.astype(kind) for name, value in read_tensors(path).items()})
    assert check(hf_folder).kv_bytes_per_token == 2 * 4 * 4 * 64 * wide


def test_who_says_what_ends_an_answer(check, hf_folder, change, findings):
    """generation_config.json, then config.json, then the tokenizer."""
    change(hf_folder / "config.json", eos_token_id=5)
    assert check(hf_folder).eos_ids == (4, 0)
    change(hf_folder / "generation_config.json", eos_token_id=None)
    assert check(hf_folder).eos_ids == (5,)
    change(hf_folder / "config.json", eos_token_id=None)
    change(hf_folder / "tokenizer_config.json", eos_token="<|end|>")
    assert check(hf_folder).eos_ids == (4,)
    (hf_folder / "generation_config.json").unlink()
    assert "generation_config.json" not in check(hf_folder).files
    assert findings.problems == []


def test_a_shorter_context(check, problems, demo_weights):
    assert check(demo_weights, context_length=100).context_length == 100
    assert "--context-length is 4096, expected at most" in problems(
        demo_weights, context_length=4096
    )


def test_the_logged_model_and_its_settings(check, mlflow_model, findings):
    folder = mlflow_model(config={"max_new_tokens": 9, "temperature": 0.5})
    model = check(folder)
    assert model.origin("config.json") == folder / "model" / "config.json"
    assert (model.generation.max_tokens, model.generation.temperature) == (9, 0.5)
    assert model.signature.reply == "full"
    first = model.signature.params[0]
    assert (first.name, first.default) == ("max_tokens", 9)
    assert model.mlmodel.model_id == "m-" + "0" * 32
    assert findings.facts["signature"].startswith("unnamed: string -> string; parameters: max_tok")


def test_mlflow_computing_in_another_type_is_noted(check, mlflow_model, findings):
    check(mlflow_model(torch_dtype="torch.float16"))
    assert not any("EDGE_DTYPE" in shim for shim in findings.shims)
    check(mlflow_model(torch_dtype="torch.bfloat16"))
    assert any("EDGE_DTYPE=bfloat16 tells it to" in shim for shim in findings.shims)


def test_a_prompt_template_needs_a_word(check, problems, mlflow_model):
    folder = mlflow_model(metadata={"prompt_template": "Say: {prompt}"})
    assert check(folder, prompt_format="raw").generation.prompt_format == "raw"
    assert "prompt_template 'Say: {prompt}'" in problems(folder)


def test_a_model_without_its_weights_keeps_other_problems(problems, mlflow_model):
    folder = mlflow_model(task="fill-mask")
    shutil.rmtree(folder / "model")
    told = problems(folder, artifact="x")
    assert "--artifact picks an ONNX model" in told
    assert "the pipeline's task is 'fill-mask'" in told
    assert "the model has no model/config.json" in told


def test_broken_settings_keep_other_problems(problems, hf_folder):
    (hf_folder / "config.json").write_text("{")
    (hf_folder / "tokenizer.json").write_text("{")
    told = problems(hf_folder)
    assert "config.json is not JSON" in told
    assert "tokenizer.json is not JSON" in told


def test_a_broken_generation_config(problems, hf_folder):
    (hf_folder / "generation_config.json").write_text("[]")
    assert "generation_config.json is not a JSON object" in problems(hf_folder)


def test_a_chat_template_in_the_tokenizers_configuration(check, hf_folder, change):
    text = (hf_folder / "chat_template.jinja").read_text()
    (hf_folder / "chat_template.jinja").unlink()
    change(
        hf_folder / "tokenizer_config.json", chat_template=[{"name": "default", "template": text}]
    )
    assert check(hf_folder).chat_template == text


def test_without_a_template_prompts_are_raw(check, hf_folder, findings):
    (hf_folder / "chat_template.jinja").unlink()
    assert check(hf_folder).chat_template == ""
    assert "the model has no chat template: prompts are taken as they are" in findings.shims


def test_nothing_but_the_workspace_is_written(check, mlflow_model):
    folder = mlflow_model()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    check(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert json.loads((folder / "model" / "config.json").read_text())["model_type"] == "phi3"
