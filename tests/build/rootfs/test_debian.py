"""Real .deb packages, made by dpkg-deb, unpacked without being installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from build.rootfs import debian

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed: apt-get install dpkg"
)


def make_package(folder: Path, name: str, files: dict[str, str]) -> Path:
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1.0-1\nArchitecture: arm64\n"
        f"Maintainer: Somebody <somebody@example.org>\nDescription: a test\n more of it\n"
    )
    (tree / "DEBIAN/postinst").write_text("#!/bin/sh\ntouch /never\n")
    (tree / "DEBIAN/postinst").chmod(0o755)
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    made = folder / f"{name}_1.0-1_arm64.deb"
    command = ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "root"
    debian.skeleton(folder, "arm64")
    return folder


def test_files_follow_the_merged_usr_links(tmp_path, root):
    package = make_package(tmp_path, "libthing", {"lib/libthing.so": "x", "usr/bin/thing": "y"})
    debian.unpack([package], root)
    assert (root / "lib").is_symlink()
    assert (root / "usr/lib/libthing.so").read_text() == "x"
    assert (root / "bin/thing").read_text() == "y"


def test_no_script_of_a_package_runs_or_stays(tmp_path, root):
    debian.unpack([make_package(tmp_path, "thing", {"usr/share/x": "x"})], root)
    assert not Path("/never").exists()
    assert not list(root.rglob("postinst"))


def test_the_stanza_is_kept_with_the_digest_of_the_package(tmp_path, root):
    package = make_package(tmp_path, "thing", {"usr/share/x": "x"})
    debian.unpack([package], root)
    stanza = (root / debian.STATUS / "thing").read_text()
    assert "Version: 1.0-1\n" in stanza
    assert stanza.endswith(f"SHA256: {hashlib.sha256(package.read_bytes()).hexdigest()}\n")


def test_a_broken_package_is_an_error(tmp_path, root):
    broken = tmp_path / "broken.deb"
    broken.write_bytes(b"!<arch>\nnothing")
    with pytest.raises(subprocess.CalledProcessError):
        debian.unpack([broken], root)


@pytest.mark.parametrize(("arch", "has_lib64"), [("amd64", True), ("arm64", False)])
def test_only_amd64_has_lib64(tmp_path, arch, has_lib64):
    debian.skeleton(tmp_path, arch)
    assert (tmp_path / "lib64").is_symlink() == has_lib64
