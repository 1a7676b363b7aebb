"""The runtime's own opinion of a model."""

import json
import subprocess
import sys

import pytest

from build import trial

TEMPLATE = "{% for message in messages %}<|user|>\n{{ message['content'] }}<|end|>\n{% endfor %}"


def test_the_demo_model_passes(demo_model):
    assert trial.attempt(demo_model, TEMPLATE, whole=True) == []


def test_without_a_template(demo_model):
    assert trial.attempt(demo_model, "", whole=False) == []


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}'])
def test_a_tokenizer_that_does_not_load(onnx_folder, content):
    (onnx_folder / "tokenizer.json").write_text(content)
    (problem,) = trial.attempt(onnx_folder, TEMPLATE, whole=True)
    assert problem.startswith("the tokenizer does not load: ")
    assert str(onnx_folder) not in problem


def test_no_tokenizer(onnx_folder):
    (onnx_folder / "tokenizer.json").unlink()
    (problem,) = trial.attempt(onnx_folder, TEMPLATE, whole=False)
    assert problem.startswith("the tokenizer does not load: ")


def test_a_tokenizer_is_tried_without_its_graph(onnx_folder, edit):
    (onnx_folder / "model.onnx").unlink()
    edit(onnx_folder, "model.type", "gpt9")
    assert trial.attempt(onnx_folder, TEMPLATE, whole=False) == []


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for m in messages %}{{ m['content'] }}", "cannot render the chat template"),
        ("{{ nothing_like_it() }}", "cannot render the chat template"),
        ("Hello!", "drops the user's message"),
    ],
)
def test_templates_that_do_not_render(demo_model, template, told):
    (problem,) = trial.attempt(demo_model, template, whole=False)
    assert told in problem


def test_a_graph_that_does_not_load(onnx_folder):
    path = onnx_folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-400])
    (problem,) = trial.attempt(onnx_folder, TEMPLATE, whole=True)
    assert problem.startswith("the runtime cannot run the model: ")
    assert str(onnx_folder) not in problem


def test_a_crash_is_a_problem_and_not_the_end(demo_model, monkeypatch):
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    real = subprocess.run
    monkeypatch.setattr(trial.subprocess, "run", lambda _, **rest: real(killed, **rest))
    assert trial.attempt(demo_model, "", whole=True) == [
        "the runtime crashed on the model (signal 9)"
    ]


def test_a_trial_that_hangs_ends(demo_model, monkeypatch):
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    real = subprocess.run
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(trial.subprocess, "run", lambda _, **rest: real(asleep, **rest))
    (problem,) = trial.attempt(demo_model, "", whole=True)
    assert "did not finish" in problem


def test_nothing_is_written_into_the_model(onnx_folder):
    before = sorted(onnx_folder.rglob("*"))
    trial.attempt(onnx_folder, TEMPLATE, whole=True)
    assert sorted(onnx_folder.rglob("*")) == before


def test_telemetry_is_off_in_the_trial(demo_model):
    """The variable is set before the runtime is imported, whatever the caller's environment."""
    probe = (
        "import sys, os, io; from build import trial; sys.argv = ['trial', sys.argv[1]];"
        'sys.stdin = io.StringIO(\'{"chat_template": "", "whole": false}\');'
        "assert 'onnxruntime_genai' not in sys.modules; trial.main();"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(demo_model)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(trial._ROOT)},
        check=True,
    )
    assert json.loads(done.stdout) == {"problems": []}
