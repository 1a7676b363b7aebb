"""Wheels for another platform, from a local folder: no index is asked."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from build.rootfs import wheels


def make_wheel(folder: Path, tag: str, name: str = "thing") -> Path:
    path = folder / f"{name}-1.0-{tag}.whl"
    record = f"{name}-1.0.dist-info"
    contents = {
        f"{name}/__init__.py": f"TAG = {tag!r}\n",
        f"{record}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{record}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    lines = [
        f"{path_},sha256={_hash(text)},{len(text.encode())}" for path_, text in contents.items()
    ]
    contents[f"{record}/RECORD"] = "\n".join([*lines, f"{record}/RECORD,,", ""])
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in contents.items():
            archive.writestr(name_, text)
    return path


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def lock(folder: Path, *found: Path) -> Path:
    hashes = [f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found]
    path = folder / "lock.txt"
    path.write_text("thing==1.0 \\\n    " + " \\\n    ".join(hashes) + "\n")
    return path


@pytest.fixture
def house(tmp_path) -> Path:
    folder = tmp_path / "house"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_wheel_of_the_asked_machine_is_unpacked(house, tmp_path, machine):
    made = [make_wheel(house, f"cp311-cp311-manylinux_2_28_{m}") for m in ("x86_64", "aarch64")]
    wheels.install(lock(tmp_path, *made), machine, house, tmp_path / "lib")
    assert machine in (tmp_path / "lib/thing/__init__.py").read_text()
    assert not list((tmp_path / "lib").rglob("__pycache__"))


@pytest.mark.parametrize("tag", ["py3-none-any", "cp39-abi3-manylinux_2_31_aarch64"])
def test_pure_and_stable_abi_wheels_fit_too(house, tmp_path, tag):
    wheels.install(lock(tmp_path, make_wheel(house, tag)), "aarch64", house, tmp_path / "lib")
    assert tag in (tmp_path / "lib/thing/__init__.py").read_text()


@pytest.mark.parametrize(
    "tag", ["cp312-cp312-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_39_aarch64"]
)
def test_wheels_that_would_not_load_are_refused(house, tmp_path, tag):
    locked = lock(tmp_path, make_wheel(house, tag))
    with pytest.raises(subprocess.CalledProcessError):
        wheels.install(locked, "aarch64", house, tmp_path / "lib")


def test_a_wheel_of_another_hash_is_refused(house, tmp_path):
    locked = lock(tmp_path, make_wheel(house, "py3-none-any"))
    make_wheel(house, "py3-none-any").write_bytes(b"other")
    with pytest.raises(subprocess.CalledProcessError):
        wheels.install(locked, "x86_64", house, tmp_path / "lib")


def test_a_failed_download_gives_its_status(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    locked = tmp_path / "lock.txt"
    locked.write_text("thing==1.0 --hash=sha256:" + "0" * 64 + "\n")
    words = ["download", "--machine", "x86_64", "--requirements", str(locked), str(tmp_path / "w")]
    assert wheels.main(words) == 1
    assert "thing" in capfd.readouterr().err
