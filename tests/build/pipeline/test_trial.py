"""The trial of a pipeline: what transformers says of models that only look whole."""

import io
import json
import sys

import numpy as np
import pytest

from build.pipeline import trial
from tests.build.pipeline.tensor_files import read_tensors, write_tensors

pytestmark = pytest.mark.torch


@pytest.fixture
def problems(hf_folder, monkeypatch, capsys):
    """Run the module's own command in this process on the folder that a test spoiled."""

    def go(chat_template="", remote_code=False):
        task = json.dumps({"chat_template": chat_template, "remote_code": remote_code})
        monkeypatch.setattr(sys, "argv", ["trial", str(hf_folder)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(task))
        assert trial.main() == 0
        told = json.loads(capsys.readouterr().out.splitlines()[-1])["problems"]
        assert not any(str(hf_folder) in problem for problem in told)
        return told

    return go


def test_the_demo_model_is_good(problems, hf_folder):
    assert problems((hf_folder / "chat_template.jinja").read_text()) == []


def test_weights_that_are_missing(problems, hf_folder, change):
    change(hf_folder / "config.json", num_hidden_layers=5)
    (problem,) = problems()
    assert problem.startswith("weights are missing: model.layers.4.")
    assert problem.endswith(", ...")


def test_weights_of_another_shape(problems, hf_folder, change):
    change(hf_folder / "config.json", vocab_size=3071)
    (problem,) = problems()
    assert "transformers cannot run the model" in problem or "weights are of another" in problem


def test_weights_that_are_no_numbers(problems, hf_folder):
    path = hf_folder / "model.safetensors"
    found = {name: np.array(value) for name, value in read_tensors(path).items()}
    found["model.norm.weight"][:] = np.nan
    write_tensors(path, found)
    text = path.read_bytes()
    assert b"model.norm.weight" in text
    assert problems() == ["the model's logits are not finite: its weights are broken"]


def test_a_model_type_that_nobody_knows(problems, hf_folder, change):
    change(hf_folder / "config.json", model_type="gpt9")
    (problem,) = problems()
    assert "gpt9" in problem


def test_a_tokenizer_that_does_not_load(problems, hf_folder, change):
    change(hf_folder / "tokenizer_config.json", tokenizer_class=3)
    (problem,) = problems()
    assert problem.startswith("the tokenizer does not load: ")


def test_a_bare_exception_is_told_by_its_traceback(problems, hf_folder, change, monkeypatch):
    """The library of tokenizers raises no other."""
    change(hf_folder / "tokenizer.json", model={"type": "Nothing"})
    with pytest.raises(Exception, match="data did not match") as caught:
        problems()
    assert type(caught.value) is Exception
    python = hf_folder.parent / "python"
    python.write_text(f"#!/bin/sh\necho 'Exception: no {hf_folder}/x.json' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    told = trial.attempt(hf_folder, "", remote_code=False)
    assert told == ["transformers fails on the model: Exception: no x.json"]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for", "transformers cannot render the chat template"),
        ("{{ raise_exception('no') }}", "transformers cannot render the chat template: no"),
        ("{{ messages[0]['absent'].x }}", "transformers cannot render the chat template"),
        ("Hello", "the chat template drops the user's message"),
    ],
)
def test_templates(problems, template, told):
    (problem,) = problems(template)
    assert told in problem


def test_code_runs_only_where_it_was_allowed(problems, hf_folder, change, tmp_path):
    marker = tmp_path / "marker"
    (hf_folder / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nX = None\n")
    change(
        hf_folder / "config.json",
        model_type="x",
        auto_map={"AutoConfig": "modeling_x.X", "AutoModelForCausalLM": "modeling_x.X"},
    )
    assert problems() != []
    assert not marker.exists()
    problems(remote_code=True)
    assert marker.exists()


def test_a_trial_that_crashes(hf_folder, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    told = trial.attempt(hf_folder, "", remote_code=False)
    assert told == ["transformers crashed on the model (signal 11)"]


def test_a_trial_that_takes_too_long(hf_folder, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 30\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.2)
    (problem,) = trial.attempt(hf_folder, "", remote_code=False)
    assert "did not finish a trial of the model within 0.2 seconds" in problem
