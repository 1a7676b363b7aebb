"""scripts/install in a copy of the tree whose locks are empty: everything but the download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def clone(repository, tmp_path_factory) -> Path:
    """A folder with scripts/install and four locks that ask for nothing."""
    folder = tmp_path_factory.mktemp("clone with a blank")
    (folder / "scripts").mkdir()
    (folder / "requirements").mkdir()
    shutil.copy(repository / "scripts" / "install", folder / "scripts" / "install")
    for name in ("edge", "build", "demo", "dev"):
        (folder / "requirements" / f"{name}.txt").write_text("# empty\n")
    return folder


def install(clone: Path, *sets: str, cwd: Path | None = None, **environment: str):
    """Run scripts/install as in a bare shell."""
    return subprocess.run(
        [clone / "scripts" / "install", *sets],
        cwd=cwd or clone,
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_first_run_makes_an_environment_and_the_second_does_nothing(clone, tmp_path):
    first = install(clone, "build", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "making .venv with Python 3." in first.stdout
    assert "requirements/build.txt" in first.stdout
    assert (clone / ".venv" / "bin" / "python").exists()
    second = install(clone, "build", "edge", cwd=tmp_path)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_a_changed_lock_is_installed_again(clone):
    assert install(clone, "edge").returncode == 0
    (clone / "requirements" / "edge.txt").write_text("# empty still\n")
    assert "requirements/edge.txt" in install(clone, "edge").stdout
    assert install(clone, "edge").stdout == ""


def test_a_lock_that_fails_is_tried_again(clone):
    lock = clone / "requirements" / "dev.txt"
    lock.write_text("./nowhere --hash=sha256:00\n")
    for _ in range(2):
        failed = install(clone, "dev")
        assert failed.returncode != 0
        assert "ERROR" in failed.stdout
    lock.write_text("# empty\n")
    assert install(clone, "dev").returncode == 0


def test_a_package_without_a_hash_is_refused(clone):
    lock = clone / "requirements" / "dev.txt"
    lock.write_text("flask==3.1.3\n")
    refused = install(clone, "dev")
    assert refused.returncode != 0
    assert "Hashes are required" in refused.stdout


def test_an_environment_whose_python_is_gone_is_made_again(clone):
    assert install(clone, "edge").returncode == 0
    for link in (clone / ".venv" / "bin").glob("python*"):
        link.unlink()
    again = install(clone, "edge")
    assert again.returncode == 0
    assert "making .venv" in again.stdout
    assert "requirements/edge.txt" in again.stdout


def test_an_unknown_set_is_named(clone):
    refused = install(clone, "egde")
    assert refused.returncode == 1
    assert refused.stderr == (
        "install: no set named 'egde': expected edge, build, demo or dev\n"
    )  # fmt: skip


def test_a_missing_python_is_said_in_a_sentence(clone, tmp_path):
    bare = tmp_path / "clone"
    shutil.copytree(clone, bare, ignore=shutil.ignore_patterns(".venv"))
    refused = install(bare, "edge", PYTHON="python2.7")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "install: Phial needs Python 3.11 or later with its venv module"
    )
    assert "python2.7" in refused.stderr
    assert not (bare / ".venv").exists()
