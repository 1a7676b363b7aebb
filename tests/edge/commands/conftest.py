"""A small bundle whose model is scripted, so that commands run in this process at once."""

from __future__ import annotations

import hashlib

import pytest

from edge import bundle, loaders
from edge.bundle import Defaults, File, Lineage, Manifest, Signature
from edge.engine import scripted
from edge.loaders import Loaded

FILES = {"model/model.onnx": b"graph", "model/model.onnx.data": b"weights" * 1000}


@pytest.fixture
def manifest():
    """The manifest of a scripted model with a chat template."""
    return Manifest(
        name="parrot",
        flavor="onnx",
        files=tuple(
            File(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in FILES.items()
        ),
        signature=Signature("prompt"),
        generation=Defaults(max_tokens=40, temperature=0.0),
        context_length=1024,
        eos_ids=(scripted.EOS,),
        kv_bytes_per_token=1024,
        chat_template=scripted.CHAT_TEMPLATE,
        quantization="int4-b32",
        lineage=Lineage(
            model_name="parrots",
            model_version="7",
            alias="champion",
            run_id="0f1e",
            tags={"mlflow.user": "jane.doe", "team": "edge"},
        ),
    )


@pytest.fixture
def folder(tmp_path, manifest):
    """That bundle on disk."""
    for name, content in FILES.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "bundle/manifest.json").write_bytes(bundle.encode(manifest))
    return tmp_path / "bundle"


@pytest.fixture
def engine(monkeypatch):
    """The engine that a command loads in place of onnxruntime-genai: it echoes its prompt."""
    one = scripted.EchoEngine(context_length=1024, kv_bytes_per_token=1024)
    monkeypatch.setattr(loaders, "loader", lambda *_: lambda: Loaded(one, scripted.ByteTokenizer()))
    return one


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No port that somebody else may hold."""
    monkeypatch.setenv("EDGE_PORT", "0")
