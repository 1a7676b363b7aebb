"""Small Hugging Face folders that a test may spoil, and what they are made of."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.build.pipeline_logging import demo_pipeline, demo_weights, logged_pipeline

__all__ = ["demo_pipeline", "demo_weights", "logged_pipeline"]

NAMES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "int64": "I64",
}  # fmt: skip
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> Path:
    """A safetensors file of numpy arrays, written by hand."""
    header, place = {}, 0
    for name, value in tensors.items():
        end = place + value.nbytes
        kind = NAMES[value.dtype.name]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(value).tobytes() for value in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, read without the code under test."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    body = raw[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
    }


@pytest.fixture
def hf_folder(demo_weights: Path, tmp_path: Path) -> Path:
    """A copy of the demo model's weights that a test may spoil."""
    return Path(shutil.copytree(demo_weights, tmp_path / "hf"))


@pytest.fixture
def change() -> Callable[..., None]:
    """`change(path, key=value)` sets keys of a JSON file; None removes one."""

    def go(path: Path, **values: Any) -> None:
        data = json.loads(path.read_text()) if path.exists() else {}
        for key, value in values.items():
            data.pop(key, None) if value is None else data.update({key: value})
        path.write_text(json.dumps(data))

    return go
