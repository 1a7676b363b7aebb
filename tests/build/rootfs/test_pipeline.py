"""The wheels of the pipeline image: a torch for CPUs, sources where they are read."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from build.rootfs import contents, pipeline


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "torch-2.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return path


@pytest.mark.parametrize(
    "name", ["torch/lib/libtorch_cuda.so", "torch/lib/libc10_cuda.so", "nvidia/cublas/x.so"]
)
def test_a_torch_for_gpus_is_refused_by_what_it_holds(tmp_path, name):
    with pytest.raises(ValueError, match=re.escape(f"holds {name}; expected one for CPUs")):
        pipeline.refuse_cuda(wheel(tmp_path, "torch/__init__.py", name))


def test_a_torch_for_cpus_is_taken(tmp_path):
    pipeline.refuse_cuda(wheel(tmp_path, "torch/__init__.py", "torch/cuda/__init__.py"))


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('"""Docs."""\nassert True\n')


def test_two_packages_keep_their_sources(tmp_path):
    lib = tmp_path / "app/lib"
    model = "transformers/models/phi3/modeling_phi3.py"
    make(lib, "torch/nn.py", "transformers/auto.py", model, "jinja2/lexer.py")
    pipeline.compile_all(lib, tmp_path)
    found = {path.relative_to(lib).as_posix() for path in lib.rglob("*") if path.is_file()}
    cached = [name for name in found if "__pycache__" in name]
    assert {"torch/nn.py", "transformers/auto.py", model, "jinja2/lexer.pyc"} <= found
    assert "jinja2/lexer.py" not in found
    assert sorted(name.split("/")[0] for name in cached) == ["torch", "transformers"]
    assert all(name.endswith(".opt-1.pyc") for name in cached)


def test_torch_gets_a_tree_of_its_own(tmp_path):
    lib = tmp_path / "libraries/app/lib"
    make(lib, "torch/nn.py", "torch-2.0.dist-info/METADATA", "torchgen/m.py", "numpy/n.py")
    pipeline.move_torch(lib, tmp_path / "torch/app/lib")
    assert sorted(path.name for path in lib.iterdir()) == ["numpy"]
    moved = sorted(path.name for path in (tmp_path / "torch/app/lib").iterdir())
    assert moved == ["torch", "torch-2.0.dist-info", "torchgen"]


def test_what_is_left_out_of_torch(tmp_path):
    kept = ("torch/bin/torch_shm_manager", "torch/testing/_internal/common_dtype.py")
    gone = ("torch/bin/protoc", "torch/include/a.h", "torch/testing/_internal/big.py")
    make(tmp_path, "torch/nn.py", *kept, *gone)
    contents.remove(tmp_path, pipeline.TORCH_LEFT_OUT, kept=pipeline.TORCH_KEPT)
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"torch/nn.py", *kept}
