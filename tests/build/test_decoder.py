"""Looking into the decoder graph."""

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build import decoder, genai_config


@pytest.fixture
def read(findings):
    """Read config and decoder of a folder."""

    def run(folder):
        config = genai_config.read(folder, findings)
        return decoder.read(folder, config, findings)

    return run


def change(folder, edit_graph):
    path = folder / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    edit_graph(model)
    path.write_bytes(model.SerializeToString())


def test_the_demo_model(demo_model, read, findings):
    found = read(demo_model)
    config = genai_config.read(demo_model, findings)
    assert findings.problems == []
    assert found.quantization == "int4-b128"
    assert found.kv_bytes_per_token == 2 * config.layers * config.kv_heads * config.head_size * 4
    assert set(found.weight_files) == {"model.onnx.data"}
    assert found.weight_files["model.onnx.data"] <= (demo_model / "model.onnx.data").stat().st_size
    assert found.producer.startswith("onnxruntime-genai ")
    assert found.parameters > 100_000


@pytest.mark.parametrize("content", [b"", b"not a graph at all", b"\x80\x04K\x01.", b"PK\x03\x04"])
def test_not_onnx(onnx_folder, read, findings, content):
    (onnx_folder / "model.onnx").write_bytes(content)
    assert read(onnx_folder) is None
    assert findings.problems == ["model.onnx is not an ONNX model"]


def test_a_missing_graph_is_told_once(onnx_folder, read, findings):
    (onnx_folder / "model.onnx").unlink()
    assert read(onnx_folder) is None
    assert len(findings.problems) == 1
    assert "names 'model.onnx', which is not in" in findings.problems[0]


def test_a_cut_weight_file(onnx_folder, read, findings):
    path = onnx_folder / "model.onnx.data"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - 10])
    needed = read(onnx_folder).weight_files["model.onnx.data"]
    assert findings.problems == [
        f"model.onnx.data has {size - 10} bytes, model.onnx needs {needed}: the file is cut short"
    ]


def test_an_absent_weight_file(onnx_folder, read, findings):
    (onnx_folder / "model.onnx.data").unlink()
    read(onnx_folder)
    assert findings.problems == [
        "model.onnx keeps weights in 'model.onnx.data', which is not in the model's folder"
    ]


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd"])
def test_weights_outside_the_folder(onnx_folder, read, findings, location):
    def move(model):
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location

    change(onnx_folder, move)
    read(onnx_folder)
    assert any(f"{location!r}, which leaves the model" in line for line in findings.problems)


def test_a_graph_that_takes_embeddings(onnx_folder, read, findings):
    def rename(model):
        next(v for v in model.graph.input if v.name == "input_ids").name = "inputs_embeds"

    change(onnx_folder, rename)
    read(onnx_folder)
    assert "has no input 'input_ids': it is no decoder from token ids" in findings.problems[0]
    assert "inputs_embeds" in findings.problems[0] or "..." in findings.problems[0]


def test_a_graph_without_logits(onnx_folder, read, findings):
    def rename(model):
        next(v for v in model.graph.output if v.name == "logits").name = "hidden"

    change(onnx_folder, rename)
    read(onnx_folder)
    assert "has no output 'logits'; it has hidden" in findings.problems[0]


def test_a_graph_without_a_cache(onnx_folder, read, findings, edit):
    edit(onnx_folder, "model.decoder.inputs.past_key_names", "elsewhere.%d")
    edit(onnx_folder, "model.decoder.inputs.past_value_names", "elsewhere.%d")
    assert read(onnx_folder).kv_bytes_per_token == 0
    assert "no inputs like 'elsewhere.%d': it keeps no KV cache" in findings.problems[0]


def test_more_layers_than_counted(onnx_folder, read, findings, edit):
    before = read(onnx_folder).kv_bytes_per_token
    edit(onnx_folder, "model.decoder.num_hidden_layers", 1)
    assert read(onnx_folder).kv_bytes_per_token == before
    assert "keeps a KV cache of layer" in findings.problems[0]
    assert "genai_config.json counts 1 layers from 0" in findings.problems[0]


def test_a_half_precision_cache_takes_half(onnx_folder, read):
    before = read(onnx_folder).kv_bytes_per_token

    def halve(model):
        for value in model.graph.input:
            if value.name.startswith("past_key_values"):
                value.type.tensor_type.elem_type = TensorProto.FLOAT16

    change(onnx_folder, halve)
    assert read(onnx_folder).kv_bytes_per_token == before // 2


def test_a_small_foreign_graph(onnx_folder, read, findings):
    import numpy as np

    weight = numpy_helper.from_array(np.zeros((4, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [weight],
    )
    (onnx_folder / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    found = read(onnx_folder)
    assert (found.quantization, found.weight_files, found.parameters) == ("fp32", {}, 16)
    assert len(findings.problems) == 3
