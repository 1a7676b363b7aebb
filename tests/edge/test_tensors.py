"""Tensors in a file: the official reader reads ours, ours reads the official writer's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge import cpu, tensors

FLOAT = np.dtype(np.float32)
TENSORS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: name != "__metadata__"
    ),
    arrays.arrays(
        st.sampled_from(list(tensors.DTYPES.values())),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=6,
)


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.shape == other[name].shape
        assert array.tobytes() == other[name].tobytes()


@pytest.fixture
def written(tmp_path):
    """`written(tensors)` is the file that holds them."""

    def write(values):
        path = tmp_path / "file"
        path.write_bytes(tensors.encode(values))
        return path

    return write


@given(TENSORS)
@settings(deadline=None)
def test_what_is_written_is_read(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(tensors.encode(values))
    same(tensors.read(path), values)
    same(safetensors.numpy.load_file(path), values)


@given(TENSORS)
@settings(deadline=None)
def test_what_the_official_writer_wrote_is_read(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("any") / "file"
    safetensors.numpy.save_file(values, path, metadata={"format": "np"})
    same(tensors.read(path), values)


@given(TENSORS)
def test_the_order_of_the_tensors_changes_nothing(values):
    turned = dict(reversed(values.items()))
    assert tensors.encode(turned) == tensors.encode(values)


def test_other_layouts_are_written_in_order(written):
    values = {"a": np.arange(12, dtype=">f4").reshape(3, 4).T, "b": np.ones((4, 4), np.int8)[::2]}
    found = tensors.read(written(values))
    assert np.array_equal(found["a"], values["a"])
    assert np.array_equal(found["b"], values["b"])


def test_each_tensor_begins_at_a_multiple_of_its_element(written):
    values = {"a": np.ones(3, np.int8), "b": np.ones(1, np.float64), "c": np.ones(1, np.float16)}
    for array in tensors.read(written(values)).values():
        assert array.flags.aligned
        assert array.ctypes.data % array.itemsize == 0


def test_they_are_mapped_and_cannot_be_changed(written):
    path = written({"a": np.ones(4, np.float32)})
    found = tensors.read(path)["a"]
    assert not found.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 2
    path.unlink()
    assert found.sum() == 4


def test_they_are_in_memory_at_once(written):
    """The KV cache is sized by what is resident then."""
    path = written({"a": np.ones(1 << 22, np.float32)})
    before = cpu.resident_bytes()
    found = tensors.read(path)
    assert cpu.resident_bytes() - before > 15 << 20
    assert found["a"].sum() == 1 << 22


def file_of(header, data=b"\0" * 16):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def entry(dtype="F32", shape=(2, 2), offsets=(0, 16)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "its header has 0 bytes, the file 0"),
        (b"\1", "its header has 1 bytes, the file 1"),
        (b"\xff" * 20, "its header has 18446744073709551615 bytes, the file 20"),
        (file_of(b"{nothing"), "its header is no JSON"),
        (file_of(b"[" * 100_000), "its header is no JSON"),
        (file_of([1]), "its header is no object"),
        (file_of({"a": 1}), "its tensor 'a' is described as 1"),
        (file_of({"a": {"dtype": "F32"}}), "its tensor 'a' is described as"),
        (file_of(entry(dtype="BF16")), "its tensor 'a' is described as"),
        (file_of(entry(shape="xy")), "its tensor 'a' is described as"),
        (file_of(entry(offsets=(0,))), "its tensor 'a' is described as"),
        (file_of(entry(offsets=(0, 12))), r"its tensor 'a' of \[2, 2\] lies at 0 to 12"),
        (file_of(entry(offsets=(4, 20))), r"its tensor 'a' of \[2, 2\] lies at 4 to 20"),
        (file_of(entry(offsets=(-16, 0))), r"its tensor 'a' of \[2, 2\] lies at -16 to 0"),
        (file_of(entry(shape=(-2, -2))), r"its tensor 'a' of \[-2, -2\] lies at 0 to 16"),
    ],
)
def test_files_of_another_kind(tmp_path, content, told):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        tensors.read(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its "):
        tensors.read(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        tensors.read(tmp_path / "none")


def test_a_type_that_the_format_has_not():
    with pytest.raises(KeyError):
        tensors.encode({"a": np.ones(2, np.complex64)})


@pytest.mark.parametrize(
    ("dtype", "shape", "told"),
    [
        (FLOAT, (2, 3), ""),
        (FLOAT, ("rank", 3), ""),
        (FLOAT, ("", ""), ""),
        (FLOAT, (2, 4), "is float32 [2, 3], expected float32 [2, 4]"),
        (FLOAT, ("rank", 4), "is float32 [2, 3], expected float32 ['any', 4]"),
        (FLOAT, (2, 3, 1), "is float32 [2, 3], expected float32 [2, 3, 1]"),
        (FLOAT, (), "is float32 [2, 3], expected float32 []"),
        (np.dtype(np.float16), (2, 3), "is float32 [2, 3], expected float16 [2, 3]"),
        (None, (2, 3), "is float32 [2, 3], expected another type [2, 3]"),
    ],
)
def test_does_it_fit(dtype, shape, told):
    assert tensors.misfit(np.ones((2, 3), np.float32), dtype, shape) == told
