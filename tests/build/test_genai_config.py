"""What genai_config.json may say."""

import json

import onnxruntime_genai as og
import pytest

from build import genai_config
from build.genai_config import DECODER_TYPES, leaves


def problems_of(folder, findings):
    genai_config.read(folder, findings)
    return "\n".join(findings.problems)


def test_the_demo_model(demo_model, findings):
    config = genai_config.read(demo_model, findings)
    raw = json.loads((demo_model / "genai_config.json").read_text())["model"]
    assert findings.problems == []
    assert config.model_type == raw["type"] == "phi3"
    assert config.context_length == raw["context_length"]
    assert config.head_size == raw["decoder"]["head_size"]
    assert config.kv_heads == raw["decoder"]["num_key_value_heads"]
    assert config.layers == raw["decoder"]["num_hidden_layers"]
    assert set(config.eos_ids) <= set(range(raw["vocab_size"]))
    assert config.filenames == {"model.decoder.filename": config.decoder}


@pytest.mark.parametrize("text", ["", "{", "[1", "\ufeffx"])
def test_not_json(onnx_folder, findings, text):
    (onnx_folder / "genai_config.json").write_text(text)
    assert genai_config.read(onnx_folder, findings) is None
    assert "genai_config.json is not JSON" in findings.problems[0]


@pytest.mark.parametrize("text", ["[]", "{}", '{"model": []}', '{"model": {"decoder": 3}}'])
def test_without_sections(onnx_folder, findings, text):
    (onnx_folder / "genai_config.json").write_text(text)
    assert genai_config.read(onnx_folder, findings) is None
    assert any("model.context_length is None" in problem for problem in findings.problems)
    assert any("model.decoder.filename is None" in problem for problem in findings.problems)


@pytest.mark.parametrize("kind", ["gpt9", "whisper", "phi3v", "decoder-pipeline", None])
def test_unsupported_types(onnx_folder, findings, edit, kind):
    edit(onnx_folder, "model.type", kind)
    problems = problems_of(onnx_folder, findings)
    assert f"model.type is {kind!r}, expected a text decoder" in problems
    assert "phi3," in problems


@pytest.mark.parametrize("part", ["encoder", "vision", "speech", "embedding"])
def test_models_of_several_graphs(onnx_folder, findings, edit, part):
    edit(onnx_folder, f"model.{part}", {"filename": "other.onnx"})
    problems = problems_of(onnx_folder, findings)
    assert f"model has {part} beside its decoder" in problems
    assert f"model.{part}.filename names 'other.onnx', which is not in" in problems


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.context_length", 0),
        ("model.vocab_size", "1024"),
        ("model.decoder.head_size", None),
        ("model.decoder.num_key_value_heads", -1),
        ("model.decoder.num_hidden_layers", 2.5),
        ("model.context_length", True),
    ],
)
def test_numbers(onnx_folder, findings, edit, place, value):
    edit(onnx_folder, place, value)
    assert genai_config.read(onnx_folder, findings) is None
    assert findings.problems == [
        f"genai_config.json: {place} is {value!r}, expected a whole number above 0"
    ]


@pytest.mark.parametrize("value", [None, [], "<|end|>"])
def test_a_model_that_never_ends(onnx_folder, findings, edit, value):
    edit(onnx_folder, "model.eos_token_id", value)
    assert "no answer would end" in problems_of(onnx_folder, findings)


def test_one_end_token(onnx_folder, findings, edit):
    edit(onnx_folder, "model.eos_token_id", 3)
    assert genai_config.read(onnx_folder, findings).eos_ids == (3,)
    assert findings.problems == []


def test_end_tokens_outside_the_vocabulary(onnx_folder, findings, edit):
    edit(onnx_folder, "model.vocab_size", 100)
    edit(onnx_folder, "model.eos_token_id", [1, 100, -1])
    assert "eos_token_id [100, -1] lies outside the vocabulary of 100" in problems_of(
        onnx_folder, findings
    )


@pytest.mark.parametrize("provider", ["cuda", "DML", "OpenVINO"])
def test_models_for_other_processors(onnx_folder, findings, edit, provider):
    edit(onnx_folder, "model.decoder.session_options.provider_options", [{provider: {}}])
    problems = problems_of(onnx_folder, findings)
    assert f"made for {provider} (provider_options)" in problems
    assert "CPU variant" in problems


def test_the_cpu_is_no_other_processor(onnx_folder, findings, edit):
    edit(onnx_folder, "model.decoder.session_options.provider_options", [{"cpu": {}}])
    assert problems_of(onnx_folder, findings) == ""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.onnx", "names 'absent.onnx', which is not in the model's folder"),
        ("../model.onnx", "is '../model.onnx', which leaves the model's folder"),
        ("/etc/passwd", "is '/etc/passwd', which leaves the model's folder"),
    ],
)
def test_files_it_names(onnx_folder, findings, edit, name, problem):
    edit(onnx_folder, "model.decoder.filename", name)
    assert f"model.decoder.filename {problem}" in problems_of(onnx_folder, findings)


def test_files_of_pipeline_stages_are_found(onnx_folder, findings, edit):
    edit(onnx_folder, "model.decoder.pipeline", [{"stage": {"filename": "stage.onnx"}}])
    assert "model.decoder.pipeline.0.stage.filename names 'stage.onnx'" in problems_of(
        onnx_folder, findings
    )


def test_all_problems_together(onnx_folder, findings, edit):
    edit(onnx_folder, "model.type", "gpt9")
    edit(onnx_folder, "model.eos_token_id", None)
    edit(onnx_folder, "model.decoder.filename", "absent.onnx")
    genai_config.read(onnx_folder, findings)
    assert len(findings.problems) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", False),
        ("a/b", False),
        ("..", True),
        ("a/../b", True),
        ("/a", True),
        ("a\\..\\b", True),
    ],
)
def test_leaves(name, expected):
    assert leaves(name) is expected


@pytest.mark.parametrize("kind", sorted(DECODER_TYPES))
def test_the_runtime_knows_every_type_by_one_decoder_file(onnx_folder, edit, kind):
    """The runtime gets as far as opening the graph, which is not there."""
    edit(onnx_folder, "model.type", kind)
    edit(onnx_folder, "model.decoder.filename", "absent.onnx")
    with pytest.raises(RuntimeError, match=r"absent\.onnx"):
        og.Model(str(onnx_folder))


def test_the_runtime_refuses_other_types(onnx_folder, edit):
    edit(onnx_folder, "model.type", "gpt9")
    with pytest.raises(RuntimeError, match="gpt9"):
        og.Model(str(onnx_folder))
