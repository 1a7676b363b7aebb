"""The adapters of a bundle: read by name, and missed where the engine cannot use them."""

from __future__ import annotations

import numpy as np
import pytest

from edge import adapters, tensors
from edge.bundle import Bundle, Defaults, Manifest, Signature, adapter_path
from edge.errors import StartupError

VALUES = {"lora_A": np.ones((4, 2), np.float32), "lora_B": np.zeros((2, 4), np.float16)}


def opened(folder, *names):
    """A bundle that promises adapters."""
    manifest = Manifest(
        name="phi3",
        flavor="onnx",
        files=(),
        signature=Signature("prompt"),
        generation=Defaults(),
        context_length=2048,
        eos_ids=(2,),
        kv_bytes_per_token=0,
        adapters=names,
    )
    return Bundle(folder, manifest, "")


@pytest.fixture
def folder(tmp_path):
    for name in ("pirate", "poet"):
        path = tmp_path / adapter_path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tensors.encode(VALUES))
    return tmp_path


def test_their_tensors_by_name(folder):
    found = adapters.read(opened(folder, "pirate", "poet"))
    assert found.keys() == {"pirate", "poet"}
    for values in found.values():
        assert values.keys() == VALUES.keys()
        assert all(np.array_equal(values[name], VALUES[name]) for name in VALUES)


def test_files_that_are_not_listed_are_not_read(folder):
    (folder / adapter_path("poet")).write_bytes(b"")
    assert adapters.read(opened(folder, "pirate")).keys() == {"pirate"}
    assert adapters.read(opened(folder)) == {}


def test_every_file_that_cannot_be_read_is_told(folder):
    (folder / adapter_path("pirate")).unlink()
    (folder / adapter_path("poet")).write_bytes(b"something")
    with pytest.raises(StartupError) as caught:
        adapters.read(opened(folder, "pirate", "poet"))
    missing, strange = caught.value.problems
    assert missing == "bundle: adapter pirate cannot be read: No such file or directory"
    assert strange.startswith("bundle: adapter poet is no safetensors file: its header has ")
    assert str(folder) not in missing + strange


def test_an_engine_without_adapters_serves_a_bundle_without(folder):
    adapters.forbid(opened(folder), "EDGE_ENGINE is genai")
    with pytest.raises(StartupError) as caught:
        adapters.forbid(opened(folder, "pirate", "poet"), "EDGE_ENGINE is genai")
    assert caught.value.problems == [
        "the adapters pirate, poet need the engine decoder, and EDGE_ENGINE is genai"
    ]
