"""The store of podman and buildah that the settings of scripts/container_settings.py point to."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from scripts import container_settings
from tests.image import store
from tests.image.engine import Engine

pytestmark = pytest.mark.image


@pytest.fixture
def archive(tmp_path) -> Path:
    """A file system of one file."""
    path = tmp_path / "root.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
    return path


@pytest.fixture
def fresh(containers, tmp_path) -> Engine:
    """Podman on a store of its own."""
    folder = tmp_path / "containers with a blank"
    container_settings.write(folder)
    return Engine("podman", os.environ | container_settings.environment(folder))


def mounts() -> str:
    return Path("/proc/mounts").read_text()


def test_podman_keeps_to_the_folder_and_leaves_nothing_mounted(fresh, archive, tmp_path):
    fresh.ask("import", archive, "localhost/one-file")
    folder = tmp_path / "containers with a blank"
    found = json.loads(fresh.ask("info", "--format", "json"))
    assert found["store"]["graphRoot"] == str(folder / "storage")
    assert found["store"]["runRoot"] == str(folder / "run")
    assert found["host"]["ociRuntime"]["name"] == "runc"
    assert found["host"]["cgroupManager"] == "cgroupfs"
    assert fresh.ask("images", "--format", "{{.Repository}}") == "localhost/one-file"
    assert "blank" not in mounts()
    shutil.rmtree(folder)


def test_the_three_programs_see_one_store(fresh, archive):
    name = "localhost/one-file"
    fresh.ask("import", archive, f"{name}:tag")
    buildah, skopeo = (Engine(client, fresh.environment) for client in ("buildah", "skopeo"))
    assert buildah.ask("images", "--format", "{{.Name}}:{{.Tag}}") == f"{name}:tag"
    assert skopeo.ask("inspect", "--format", "{{.Name}}", f"containers-storage:{name}:tag") == name


def test_a_name_without_a_registry_is_looked_for_nowhere(fresh):
    done = fresh.run("pull", "phial-test")
    assert done.returncode != 0
    assert "no unqualified-search registries are defined" in done.stderr


def test_a_store_inside_an_overlay_copies_layers(containers, tmp_path):
    """As in a container: the kernel takes no overlay for the upper half of another."""
    parts = [tmp_path / name for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        part.mkdir()
    lower, upper, work, merged = parts
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "none", merged], check=True)
    try:
        assert container_settings.driver(merged) == "vfs"
        assert list(merged.iterdir()) == []
    finally:
        subprocess.run(["umount", merged], check=True)
    assert container_settings.driver(lower) == "overlay"
    assert list(lower.iterdir()) == []


def test_builds_that_never_ended_are_dropped(fresh, archive):
    fresh.ask("import", archive, "localhost/one-file")
    buildah = Engine("buildah", fresh.environment)
    name = buildah.ask("from", "--pull-never", "localhost/one-file")
    buildah.ask("mount", name)
    assert "blank" in mounts()
    store.drop_abandoned_builds(fresh)
    assert buildah.ask("containers", "--format", "{{.ContainerName}}") == name
    store.drop_abandoned_builds(fresh, older_than_s=0)
    assert buildah.ask("containers", "--format", "{{.ContainerName}}") == ""
    assert "blank" not in mounts()


def test_unnamed_images_are_dropped_when_they_are_old(fresh, archive):
    for _ in range(2):
        fresh.ask("import", "--message", os.urandom(4).hex(), archive, "localhost/one-file")
    images = ("images", "--format", "{{.Repository}}")
    assert sorted(fresh.ask(*images).split()) == ["<none>", "localhost/one-file"]
    store.drop_old_images(fresh)
    assert len(fresh.ask(*images).split()) == 2
    store.drop_old_images(fresh, older_than_hours=-1)
    assert fresh.ask(*images) == "localhost/one-file"
