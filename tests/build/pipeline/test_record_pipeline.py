"""What goes into MLflow beside the pipeline: card, example, requirements, speed."""

import re
from importlib.metadata import version

import pytest
from mlflow.models.utils import _enforce_schema
from mlflow.transformers.llm_inference_utils import _SIGNATURE_FOR_LLM_INFERENCE_TASK as OF_TASK

from build.pipeline import measure, record
from build.pipeline.flavor import CHAT, COMPLETIONS, TASKS
from build.record import Entry

pytestmark = pytest.mark.torch


def entry(folder, **values):
    return Entry(folder, "phi3-chat", {}, {}, {}, {}, **values)


def test_requirements_are_pinned_to_what_an_index_has():
    lines = record.requirements()
    assert [re.split("==", line)[0] for line in lines] == list(record.REQUIRED)
    assert f"torch=={version('torch').partition('+')[0]}" in lines
    assert not any("+" in line for line in lines)


def test_a_package_that_is_not_there_is_not_required(monkeypatch):
    monkeypatch.setattr(record, "find_spec", lambda name: name != "accelerate" or None)
    assert not any(line.startswith("accelerate") for line in record.requirements())


def test_the_card_is_the_folders_or_made_of_the_traits(hf_folder):
    made = record._card(entry(hf_folder, description="phi3, 4.2 M parameters"))
    assert made.text.strip() == "# phi3-chat\n\nphi3, 4.2 M parameters"
    (hf_folder / "README.md").write_text("---\nlicense: mit\n---\n# By hand\n")
    own = record._card(entry(hf_folder))
    assert (own.text.strip(), own.data.license) == ("# By hand", "mit")


def test_every_task_has_an_example_that_its_signature_takes():
    assert set(record.EXAMPLES) == set(TASKS)
    for task in (CHAT, COMPLETIONS):
        given = _enforce_schema(dict(record.EXAMPLES[task]), OF_TASK[task].inputs)
        assert set(given) == set(record.EXAMPLES[task])


def test_speed_is_that_of_generate(demo_pipeline):
    found = measure.measure(demo_pipeline, 64, load_s=1.5, repeats=1)
    assert (found.prompt_tokens, found.new_tokens, found.load_seconds) == (32, 32, 1.5)
    metrics = found.metrics()
    assert all(value > 0 for value in metrics.values())
    rate = found.prompt_tokens / found.time_to_first_token_seconds
    assert metrics["prefill_tokens_per_second"] == rate


def test_a_context_of_four_tokens_is_enough(demo_pipeline):
    found = measure.measure(demo_pipeline, 4, load_s=0.1, repeats=1)
    assert (found.prompt_tokens, found.new_tokens) == (2, 2)
