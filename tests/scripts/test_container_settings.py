"""The settings that keep podman, buildah and skopeo to one folder; tests/image has them obey."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import container_settings


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / 'a "quoted" folder'


def parsed(folder: Path, name: str):
    return tomllib.loads((folder / name).read_text())


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.is_file()}


def test_every_variable_names_a_file_that_is_written(folder):
    container_settings.write(folder)
    variables = container_settings.environment(folder)
    assert {Path(path).parent for path in variables.values()} == {folder}
    assert all(tomllib.loads(Path(path).read_text()) for path in variables.values())


def test_all_places_lie_in_the_folder(folder):
    container_settings.write(folder)
    storage = parsed(folder, "storage.conf")["storage"]
    settings = parsed(folder, "containers.conf")
    places = [storage["graphroot"], storage["runroot"]]
    places += [settings["engine"]["tmp_dir"], settings["network"]["network_config_dir"]]
    assert all(Path(place).is_relative_to(folder) for place in places)
    assert storage["driver"] in ("overlay", "vfs")


def test_what_is_right_is_not_written_again(folder):
    container_settings.write(folder)
    before = times(folder)
    container_settings.write(folder)
    assert times(folder) == before


def test_a_store_keeps_its_driver(folder):
    container_settings.write(folder)
    (folder / "storage.conf").write_text('[storage]\ndriver = "vfs"\n')
    container_settings.write(folder)
    assert parsed(folder, "storage.conf") == {"storage": {"driver": "vfs"}}


def test_a_changed_setting_is_put_right(folder):
    container_settings.write(folder)
    (folder / "containers.conf").write_text('[engine]\nruntime = "other"\n')
    container_settings.write(folder)
    assert parsed(folder, "containers.conf")["engine"]["runtime"] == "runc"


def test_what_a_former_boot_left_running_is_dropped(folder, tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("one\n")
    container_settings.write(folder, boot_id=boot_id)
    (folder / "run").mkdir()
    (folder / "run" / "mounted").touch()
    container_settings.write(folder, boot_id=boot_id)
    assert (folder / "run" / "mounted").exists()
    boot_id.write_text("two\n")
    container_settings.write(folder, boot_id=boot_id)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(1024, 1024), (1 << 20, container_settings.MOST_FILES), (-1, container_settings.MOST_FILES)],
)
def test_a_container_gets_no_more_files_than_we_may_open(folder, monkeypatch, ours, theirs):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10, ours))
    limits = container_settings.containers(folder)["containers"]["default_ulimits"]
    assert limits[0] == f"nofile={theirs}:{theirs}"


def test_a_driver_is_found_and_leaves_no_trace(tmp_path):
    assert container_settings.driver(tmp_path) in ("overlay", "vfs")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_a_command_runs_under_the_settings(repository):
    program = "import os; print(os.environ['CONTAINERS_STORAGE_CONF'], os.environ['KEPT'])"
    done = subprocess.run(
        [sys.executable, "-m", "scripts.container_settings", sys.executable, "-c", program],
        cwd=repository,
        env={**os.environ, "KEPT": "kept"},
        capture_output=True,
        text=True,
        check=True,
    )
    storage = repository / ".cache" / "containers" / "storage.conf"
    assert done.stdout == f"{storage} kept\n"
    assert storage.exists()
