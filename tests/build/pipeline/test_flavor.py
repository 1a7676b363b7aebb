"""What an MLmodel says of its pipeline."""

import pytest

from build.mlmodel import MlModel
from build.pipeline import flavor
from build.pipeline.flavor import Flavor

SAVED = {
    "task": "text-generation",
    "inference_task": "llm/v1/chat",
    "model_binary": "model",
    "pipeline_model_type": "Phi3ForCausalLM",
    "source_model_name": "/home/me/phi3",
    "components": ["tokenizer"],
}


def model(metadata=None, **changes):
    said = {**SAVED, **changes}
    kept = {key: value for key, value in said.items() if value is not None}
    return MlModel(flavors=("transformers",), transformers=kept, metadata=metadata or {})


def test_a_saved_pipeline(findings):
    found = flavor.read(model({"task": "llm/v1/chat"}), findings)
    assert found == Flavor(
        task="llm/v1/chat",
        architecture="Phi3ForCausalLM",
        weights="model",
        source="/home/me/phi3",
    )
    assert findings.problems == []


def test_the_task_is_that_of_the_metadata_then_mlflows_then_the_pipelines(findings):
    said = model({"task": "llm/v1/completions"})
    assert flavor.read(said, findings).task == "llm/v1/completions"
    assert flavor.read(model(), findings).task == "llm/v1/chat"
    assert flavor.read(model(inference_task=None), findings).task == "text-generation"


def test_a_pipeline_by_reference_has_no_folder_of_weights(findings):
    said = model(source_model_name="acme/tiny", source_model_revision="a" * 40, model_binary=None)
    found = flavor.read(said, findings)
    assert (found.weights, found.source, found.revision) == ("", "acme/tiny", "a" * 40)


def test_a_pipeline_around_a_base_model_elsewhere(findings):
    said = model(local_base_model_path="/models/base", model_binary=None, peft_adaptor="peft")
    found = flavor.read(said, findings)
    assert (found.weights, found.base, found.peft) == ("", "/models/base", "peft")


def test_a_pipeline_of_before_2_4_1(findings):
    assert flavor.read(model(model_binary=None), findings).weights == "pipeline"


@pytest.mark.parametrize("task", ["llm/v1/embeddings", "fill-mask", "translation", ""])
def test_other_tasks_are_refused(findings, task):
    flavor.read(model(task=task, inference_task=None), findings)
    (problem,) = findings.problems
    assert f"the pipeline's task is {task!r}" in problem
    assert "only text generation is served" in problem


@pytest.mark.parametrize(
    "said", [{"components": ["tokenizer", "image_processor"]}, {"processor_type": "X"}]
)
def test_what_reads_images_or_sound_is_refused(findings, said):
    flavor.read(model(**said), findings)
    assert "processor, which reads images or sound" in findings.problems[0]


def test_a_bare_folder_is_told_by_its_files(tmp_path, findings):
    assert not flavor.is_pipeline(tmp_path, None)
    (tmp_path / "config.json").write_text("{}")
    assert flavor.is_pipeline(tmp_path, None)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "genai_config.json").write_text("{}")
    assert not flavor.is_pipeline(tmp_path, None)
    assert flavor.read(None, findings).weights == "."


def test_an_mlflow_model_is_told_by_its_flavors(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert flavor.is_pipeline(tmp_path, model())
    assert not flavor.is_pipeline(tmp_path, MlModel(flavors=("python_function",)))
    (tmp_path / "MLmodel").write_text("{")
    assert not flavor.is_pipeline(tmp_path, None)
