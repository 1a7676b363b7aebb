"""The build context holds what the Dockerfiles copy, and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from build import context
from build.errors import BuildFailed
from build.variant import PIPELINE, SLIM


@pytest.fixture
def written(tmp_path) -> Path:
    return context.write(tmp_path / "context")


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_everything_that_a_dockerfile_copies_is_there(written, arch):
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", context.dockerfile(arch).read_text(), re.M)
    words = [word for line in copied for word in line.split() if "[" not in word]
    sources = [word.replace("$ARCH", arch) for word in words]
    assert len(sources) > 4
    assert [source for source in sources if not (written / source).exists()] == []


def test_it_holds_no_bytecode_no_tests_and_no_weights(written):
    found = names(written)
    assert not [n for n in found if n.endswith(".pyc") or n.startswith(("tests/", "build/demo"))]
    assert {name.split("/")[0] for name in found} == {"LICENSE", "build", "edge", "requirements"}
    locks = ("edge", "pipeline", "torch-amd64", "torch-arm64")
    assert {n for n in found if n.startswith("requirements")} == {
        f"requirements/{name}.txt" for name in locks
    }


def test_the_checkout_itself_is_as_good_a_context(repository, written):
    """`.dockerignore` lets the same files through for those who call Docker themselves."""
    rules = (repository / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in rules if line.startswith("!")]
    assert rules[1] == "*"
    assert {name for name in names(written) if not name.startswith(tuple(allowed))} == set()


def test_a_wheelhouse_comes_along_without_its_base_image(tmp_path):
    house = tmp_path / "house"
    (house / "wheels/arm64").mkdir(parents=True)
    (house / "wheels/arm64/x.whl").write_text("x")
    (house / "base-amd64.tar").write_text("large")
    folder = context.write(tmp_path / "context", house)
    assert names(folder / "wheelhouse") == {"wheels/arm64/x.whl"}


def test_the_slim_image_gets_no_wheels_of_the_other(tmp_path):
    house = tmp_path / "house"
    for name in ("wheels", "pipeline", "torch"):
        (house / name / "amd64").mkdir(parents=True)
        (house / name / "amd64/x.whl").write_text("x")
    slim = names(context.write(tmp_path / "slim", house, SLIM) / "wheelhouse")
    whole = names(context.write(tmp_path / "whole", house, PIPELINE) / "wheelhouse")
    assert slim == {"wheels/amd64/x.whl"}
    assert whole == {f"{name}/amd64/x.whl" for name in ("wheels", "pipeline", "torch")}


def test_a_folder_that_cannot_be_written_is_a_failed_build(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BuildFailed, match="build context cannot be written"):
        context.write(tmp_path / "file")


def test_the_revision_is_that_of_the_checkout(repository):
    asked = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    head = subprocess.check_output(asked, text=True).strip()
    assert context.revision() in (head, f"{head}-dirty")


def test_the_time_is_that_of_the_commit(repository):
    asked = ["git", "-C", str(repository), "log", "-1", "--format=%ct"]
    assert context.commit_time_s() == int(subprocess.check_output(asked, text=True))


def test_outside_of_git_there_is_no_revision_and_the_time_is_fixed(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert context.revision() == ""
    assert context.commit_time_s() == 315532800


def test_the_base_is_debian_pinned_by_digest():
    assert re.fullmatch(
        r"docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}", context.base_reference()
    )
