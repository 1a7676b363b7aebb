"""Torch comes by this machine's pip: from a folder of wheels, with a lock of one line."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from build import torch_wheel
from build.errors import BuildFailed
from build.network import Network
from tests.build.rootfs.test_wheels import make_wheel


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder of wheels that pip's environment names, and locks that pin them."""
    folder = tmp_path / "house"
    folder.mkdir()
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        wheel = make_wheel(folder, f"cp311-cp311-manylinux_2_28_{machine}", "torch")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock = tmp_path / f"torch-{arch}.txt"
        lock.write_text(f"torch==1.0 \\\n    --hash=sha256:{digest}\n")
    monkeypatch.setattr(torch_wheel, "requirements", lambda arch: tmp_path / f"torch-{arch}.txt")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_each_architecture_gets_its_own(house, tmp_path):
    torch_wheel.add(["amd64", "arm64"], tmp_path / "out", Network())
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        folder = tmp_path / "out/torch" / arch
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["SHA256SUMS", f"torch-1.0-cp311-cp311-manylinux_2_28_{machine}.whl"]
        subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=True)


def test_what_is_there_is_kept(house, tmp_path):
    folder = tmp_path / "out/torch/amd64"
    folder.mkdir(parents=True)
    (folder / "SHA256SUMS").write_text("")
    torch_wheel.add(["amd64"], tmp_path / "out", Network())
    assert [path.name for path in folder.iterdir()] == ["SHA256SUMS"]


def test_another_wheel_than_the_lock_s_is_refused(house, tmp_path):
    make_wheel(house, "cp311-cp311-manylinux_2_28_x86_64", "torch").write_bytes(b"PK")
    with pytest.raises(BuildFailed, match=r"as torch-amd64\.txt pins it"):
        torch_wheel.add(["amd64"], tmp_path / "out", Network())


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_the_locks_are_those_of_the_checkout(arch, repository):
    assert torch_wheel.requirements(arch) == repository / f"requirements/torch-{arch}.txt"
    assert torch_wheel.requirements(arch).is_file()
