"""The parameters of a model's run, read from its folder."""

import json
from pathlib import Path

import pytest

from build import options, traits
from build.findings import Findings
from build.source import Source
from build.traits import Traits
from build.validate import validate
from edge.bundle import Lineage


@pytest.fixture(scope="module")
def found(demo_model: Path) -> Traits:
    source = Source(demo_model, Lineage(), "demo")
    return traits.read(validate(source, options.Options(trial=False), Findings()))


def test_the_config_s_figures_are_there(found: Traits, demo_model: Path) -> None:
    model = json.loads((demo_model / "genai_config.json").read_text())["model"]
    decoder = model["decoder"]
    assert found["model_type"] == model["type"] == "phi3"
    assert found["context_length"] == model["context_length"]
    assert found["vocab_size"] == model["vocab_size"]
    assert found["layers"] == decoder["num_hidden_layers"]
    assert found["eos_token_ids"] == " ".join(map(str, model["eos_token_id"]))
    kv = 2 * 4 * decoder["num_hidden_layers"] * decoder["num_key_value_heads"]
    assert found["kv_bytes_per_token"] == kv * decoder["head_size"]


def test_the_graph_s_figures_are_there(found: Traits) -> None:
    assert (found["precision"], found["embedding_precision"]) == ("int4", "int4")
    assert (found["block_size"], found["accuracy_level"]) == (128, 4)


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"x" * 10)
    (tmp_path / "below" / "model.onnx.data").write_bytes(b"x" * 1000)
    (tmp_path / "odd?name").write_bytes(b"x")
    assert traits.sizes(tmp_path) == {
        "total_bytes": 1011,
        "files": 3,
        "file_bytes/below/model.onnx.data": 1000,
        "file_bytes/model.onnx": 10,
    }


def test_only_the_largest_of_many_files_are_named(tmp_path: Path) -> None:
    for size in range(40):
        (tmp_path / f"part-{size}").write_bytes(b"x" * size)
    sizes = traits.sizes(tmp_path)
    assert sizes["files"] == 40
    assert sizes["file_bytes/part-39"] == 39
    assert "file_bytes/part-0" not in sizes
    assert len(sizes) == 2 + traits.MOST_FILES


def test_a_sentence_says_what_a_reader_asks_first(found: Traits) -> None:
    said = traits.sentence(found)
    assert said.startswith("phi3, ")
    assert said.endswith("M parameters, int4 in blocks of 128, context 2048")
    plain = {**found, "block_size": 0, "precision": "fp16", "parameters": 3_800_000_000}
    assert traits.sentence(plain) == "phi3, 3.8 B parameters, fp16, context 2048"
