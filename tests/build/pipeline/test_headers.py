"""Headers of safetensors files, whole and broken."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from build.errors import InvalidModel
from build.pipeline import headers

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros((4,), np.float16),
    "none": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def path(tmp_path):
    """A file of the library's own writer, with metadata."""
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def rewrite(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def refusal(path):
    with pytest.raises(InvalidModel) as caught:
        headers.read(path)
    return str(caught.value)


def test_names_types_shapes_and_places(path):
    found = headers.read(path)
    assert set(found) == set(TENSORS)
    raw = path.read_bytes()
    for name, value in TENSORS.items():
        tensor = found[name]
        assert (tensor.shape, tensor.elements) == (value.shape, value.size)
        assert raw[tensor.start : tensor.end] == value.tobytes()
    assert (found["a"].dtype, found["b"].dtype) == ("F32", "F16")


@pytest.mark.parametrize("left", [0, 4, 40])
def test_a_file_cut_short_in_its_header(path, left):
    path.write_bytes(path.read_bytes()[:left])
    assert "model.safetensors is no safetensors file, or was cut short" in refusal(path)


def test_a_file_cut_short_in_its_tensors(path):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    told = refusal(path)
    assert f"was cut short: it has {size - 1:,} bytes, its tensors need {size:,}" in told


def test_bytes_that_belong_to_nothing(path):
    path.write_bytes(path.read_bytes() + b"more")
    assert "has 4 bytes that belong to no tensor" in refusal(path)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"{", "no safetensors header"),
        ([1], "no safetensors header"),
        ({"a": 3}, "no safetensors header"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "no safetensors header"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "no safetensors header"),
        ({"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 4]}}, "a is of the type Q4"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "shape need 8"),
    ],
)
def test_headers_that_make_no_sense(path, header, told):
    rewrite(path, header, b"1234")
    assert told in refusal(path)


def test_tensors_that_share_bytes(path):
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    rewrite(path, {"a": one, "b": one}, b"1234")
    assert "has tensors that share bytes" in refusal(path)
