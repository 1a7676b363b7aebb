import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader
from gguf.quants import dequantize

from tests.bench.peer import model
from tests.bench.shapes import SHAPES, Shape

SHAPE = Shape(64, 96, 2, 4, vocab_size=320, context_length=128)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    written = tmp_path_factory.mktemp("gguf") / "model.gguf"
    model.write(SHAPE, written)
    return written


@pytest.fixture(scope="module")
def reader(path):
    return GGUFReader(path)


def test_the_keys_are_those_of_the_shape(reader):
    found = {name: field.contents() for name, field in reader.fields.items()}
    assert found["general.architecture"] == "phi3"
    for name, value in {
        "embedding_length": 64,
        "feed_forward_length": 96,
        "block_count": 2,
        "attention.head_count": 4,
        "attention.head_count_kv": 4,
        "rope.dimension_count": 16,
        "context_length": 128,
        "vocab_size": 320,
    }.items():
        assert found[f"phi3.{name}"] == value


def test_every_id_has_a_text_of_its_own(reader):
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    assert len(set(tokens)) == len(tokens) == len(types) == SHAPE.vocab_size
    assert types.count(gguf.TokenType.BYTE) == model.BYTES
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == 2


def test_matrices_are_q4_0_and_norms_are_ones(reader):
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    assert list(by_name["blk.1.attn_qkv.weight"].shape) == [64, 192]
    assert list(by_name["blk.0.ffn_up.weight"].shape) == [64, 192]
    assert list(by_name["blk.0.ffn_down.weight"].shape) == [96, 64]
    for name, tensor in by_name.items():
        if "norm" in name:
            assert tensor.tensor_type == Kind.F32
            assert np.all(tensor.data == 1.0)
        else:
            assert tensor.tensor_type == Kind.Q4_0


def test_weights_are_of_the_size_of_trained_ones(reader):
    head = next(tensor for tensor in reader.tensors if tensor.name == "output.weight")
    values = dequantize(head.data, Kind.Q4_0)
    assert values.shape == (320, 64)
    assert np.isfinite(values).all()
    assert 0.018 < values.std() < 0.022
    assert len(np.unique(values)) == 16


def test_all_weights_of_the_shape_are_there(reader):
    matrices = [tensor for tensor in reader.tensors if tensor.tensor_type == Kind.Q4_0]
    assert sum(int(tensor.n_elements) for tensor in matrices) == SHAPE.parameters
    assert [tensor.name for tensor in reader.tensors] == [m.name for m in model.matrices(SHAPE)]


def test_the_same_shape_gives_the_same_file(path, tmp_path):
    model.write(SHAPE, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_model_is_made_once_and_whole(tmp_path):
    first = model.of_shape("tiny", SHAPES["tiny"], tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert model.of_shape("tiny", SHAPES["tiny"], tmp_path / "cache").stat().st_mtime_ns == made
    assert [entry.name for entry in first.parent.iterdir()] == ["tiny-q4_0.gguf"]


def test_a_model_that_was_cut_short_is_not_kept(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(model, "_weights", fail)
    with pytest.raises(OSError, match="disk full"):
        model.of_shape("tiny", SHAPES["tiny"], tmp_path)
    assert not (tmp_path / "tiny-q4_0.gguf").exists()


@pytest.mark.parametrize("name", SHAPES)
def test_rows_of_every_shape_divide_into_blocks(name):
    for matrix in model.matrices(SHAPES[name]):
        assert not matrix.rows or matrix.columns % model.BLOCK_WEIGHTS == 0
