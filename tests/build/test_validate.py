"""All problems of a model at once."""

import pytest
import yaml

from build.errors import InvalidModel
from build.options import Options
from build.source import Source
from build.validate import validate
from edge.bundle import Lineage

QUICK = Options(trial=False)
PROMPT = '[{"type": "string", "name": "prompt", "required": true}]'
STRING = '[{"type": "string", "required": true}]'


def source_of(folder):
    return Source(folder, Lineage(), "model")


def problems_of(folder, findings, options=QUICK):
    with pytest.raises(InvalidModel) as caught:
        validate(source_of(folder), options, findings)
    return caught.value.problems


@pytest.fixture
def mlflow_model(onnx_folder, tmp_path):
    """An MLflow model around the ONNX folder, whose MLmodel takes `changes`."""

    def make(path="onnx", inputs=PROMPT, **changes):
        pyfunc = {"model_code_path": "x.py", "artifacts": {"onnx": {"path": path}}, "config": {}}
        signed = {"inputs": inputs, "outputs": STRING, "params": None}
        data = {"flavors": {"python_function": pyfunc | changes}, "signature": signed}
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(data))
        return tmp_path

    return make


def test_the_demo_model(demo_model, findings):
    model = validate(source_of(demo_model), Options(), findings)
    assert model.folder == demo_model
    assert model.signature.kind == "prompt"
    assert model.context_length == model.config.context_length
    assert "messages" in model.chat_template
    assert findings.problems == []
    assert findings.facts["architecture"] == "phi3"
    assert findings.facts["weights"].startswith("int4-b128, ")
    assert "max_tokens, temperature, top_p" in findings.facts["signature"]


def test_everything_wrong_at_once(mlflow_model, onnx_folder, findings, edit):
    folder = mlflow_model(inputs='[{"type": "long", "name": "x"}]', config={"temperature": "hot"})
    edit(onnx_folder, "model.type", "gpt9")
    edit(onnx_folder, "model.eos_token_id", None)
    edit(onnx_folder, "model.decoder.session_options.provider_options", [{"cuda": {}}])
    edit(onnx_folder, "model.decoder.adapters", {"filename": "absent.bin"})
    (onnx_folder / "model.onnx.data").unlink()
    (onnx_folder / "NOTICE").symlink_to("/etc/hostname")
    (onnx_folder / "tokenizer.json").write_text("{")
    told = "\n".join(problems_of(folder, findings, Options(context_length=10**6)))
    for part in (
        "signature is [x: long]",
        "model.type is 'gpt9'",
        "no answer would end",
        "made for cuda",
        "names 'absent.bin'",
        "keeps weights in 'model.onnx.data', which is not",
        "NOTICE is a link that leaves",
        "temperature is 'hot'",
        "--context-length is 1000000, expected at most",
        "the tokenizer does not load",
    ):
        assert part in told


def test_problems_of_the_signature_and_a_missing_artifact(mlflow_model, findings):
    folder = mlflow_model(path="gone", inputs='[{"type": "long", "name": "x"}]')
    told = problems_of(folder, findings)
    assert len(told) == 2
    assert "signature is" in told[0]
    assert "artifact 'onnx' (gone) is missing" in told[1]


def test_an_unreadable_configuration_keeps_other_problems(onnx_folder, findings):
    (onnx_folder / "genai_config.json").write_text("{")
    (onnx_folder / "extra").symlink_to("/etc")
    told = problems_of(onnx_folder, findings)
    assert "genai_config.json is not JSON" in told[0]
    assert "extra is a link" in told[1]


def test_not_onnx(onnx_folder, findings):
    (onnx_folder / "model.onnx").write_bytes(b"#!/bin/sh\n")
    assert problems_of(onnx_folder, findings) == ("model.onnx is not an ONNX model",)


def test_a_shorter_context(demo_model, findings):
    options = Options(context_length=100, trial=False)
    assert validate(source_of(demo_model), options, findings).context_length == 100


def without_template(folder):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "tokenizer_config.json").write_text("{}")


def test_no_template_is_noted(onnx_folder, findings):
    without_template(onnx_folder)
    validate(source_of(onnx_folder), QUICK, findings)
    assert "the model has no chat template: prompts are taken as they are" in findings.shims


def test_no_template_where_chats_are_wanted(onnx_folder, findings):
    without_template(onnx_folder)
    options = Options(prompt_format="chat", trial=False)
    assert problems_of(onnx_folder, findings, options) == (
        "the model has no chat template, which chats need",
    )


def test_the_trial_has_the_last_word(onnx_folder, findings, edit):
    edit(onnx_folder, "model.decoder.head_size", 24)
    (problem,) = problems_of(onnx_folder, findings, Options())
    assert "the runtime cannot run the model" in problem


def test_pickles_are_not_opened(mlflow_model, findings, tmp_path):
    folder = mlflow_model(python_model="python_model.pkl", model_code_path=None)
    marker = tmp_path / "marker"
    poison = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    (folder / "python_model.pkl").write_bytes(poison)
    model = validate(source_of(folder), Options(), findings)
    assert "python_model.pkl" not in model.files
    assert not marker.exists()
    assert any("was not opened" in shim for shim in findings.shims)
