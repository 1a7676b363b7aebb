import json

import onnx
import pytest
from onnx import TensorProto, helper

from tests.bench.bars import graph
from tests.bench.bars.graph import NoGraph

DOMAIN = "com.microsoft"


def test_the_model_in_the_box_has_its_known_sizes(demo_model):
    needs = graph.read(demo_model)
    assert needs.kv_bytes_per_token == 8 * 1024
    data_bytes = (demo_model / "model.onnx.data").stat().st_size
    assert needs.stored_bytes == pytest.approx(data_bytes, rel=0.02)
    # Everything is read for a token but the embeddings, the norms and the rotary tables.
    assert 0.6 * data_bytes < needs.read_bytes_per_token < needs.stored_bytes


def test_matrices_count_once_with_their_scales_and_embeddings_do_not(tmp_path):
    config = json.loads((write(tmp_path) / "genai_config.json").read_text())
    assert config["model"]["decoder"]["filename"] == "model.onnx"
    needs = graph.read(tmp_path)
    assert needs.read_bytes_per_token == 1024 + 64
    assert needs.stored_bytes == 1024 + 64 + 400
    assert needs.kv_bytes_per_token == 2 * (3 * 8 * 2)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(NoGraph, match=r"genai_config\.json"):
        graph.read(tmp_path)


def write(folder):
    """A graph of one quantized matrix, used twice, an embedding, and two fp16 caches."""
    tensors = [
        helper.make_tensor("codes", TensorProto.UINT8, (16, 4, 16), bytes(1024), raw=True),
        helper.make_tensor("scales", TensorProto.FLOAT, (16,), bytes(64), raw=True),
        helper.make_tensor("embedding", TensorProto.FLOAT, (10, 10), bytes(400), raw=True),
    ]
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["h"]),
        *(
            helper.make_node(
                "MatMulNBits", ["h", "codes", "scales"], [name], domain="com.microsoft"
            )
            for name in ("a", "b")
        ),
    ]
    caches = [
        helper.make_tensor_value_info(
            f"past_key_values.0.{part}", TensorProto.FLOAT16, ["batch", 3, "past", 8]
        )
        for part in ("key", "value")
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    made = helper.make_graph(nodes, "toy", [ids, *caches], [], tensors)
    onnx.save(helper.make_model(made), folder / "model.onnx")
    decoder = {
        "filename": "model.onnx",
        "head_size": 8,
        "hidden_size": 24,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "num_hidden_layers": 1,
        "inputs": {"input_ids": "input_ids"},
        "outputs": {"logits": "logits"},
    }
    model = {"type": "phi3", "context_length": 64, "vocab_size": 10, "eos_token_id": 1}
    model |= {"bos_token_id": 1, "pad_token_id": 1, "decoder": decoder}
    (folder / "genai_config.json").write_text(json.dumps({"model": model, "search": {}}))
    return folder
