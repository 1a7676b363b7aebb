"""Folders that appear whole or not at all."""

import fcntl
import os
import time

import pytest

from build import workspace
from build.errors import OutputRefused


def make(folder, text):
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_workspace_lies_beside_the_output_and_goes_away(tmp_path):
    with workspace.beside(tmp_path / "out") as work:
        assert work.parent == tmp_path
        assert work.name.startswith(".out.phial-")
        assert names(work) == ["lock"]
    assert names(tmp_path) == []


def test_it_goes_away_on_errors(tmp_path):
    with pytest.raises(RuntimeError), workspace.beside(tmp_path / "out"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_parents_are_made(tmp_path):
    with workspace.beside(tmp_path / "a" / "b" / "out") as work:
        assert work.parent == tmp_path / "a" / "b"


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="cannot write beside"):
        workspace.beside(tmp_path / "file" / "out").__enter__()


@pytest.mark.parametrize("name", ["out", "o[u]t", "*"])
def test_abandoned_workspaces_are_swept(tmp_path, name):
    stale = tmp_path / f".{name}.phial-dead"
    make(stale / "bundle", "half")
    (stale / "lock").touch()
    other = make(tmp_path / ".other.phial-dead", "kept")
    with workspace.beside(tmp_path / name):
        assert not stale.exists()
    assert names(tmp_path) == [other.name]


def test_workspaces_in_use_are_left_alone(tmp_path):
    with workspace.beside(tmp_path / "out") as first, workspace.beside(tmp_path / "out") as second:
        assert first != second
        assert (first / "lock").exists()


def test_young_workspaces_without_a_lock_are_left_alone(tmp_path):
    young = make(tmp_path / ".out.phial-young", "x")
    old = make(tmp_path / ".out.phial-old", "x")
    os.utime(old, (time.time() - 3600,) * 2)
    workspace.sweep(tmp_path / "out")
    assert names(tmp_path) == [young.name]


def test_the_lock_is_held_while_the_workspace_lives(tmp_path):
    with (
        workspace.beside(tmp_path / "out") as work,
        (work / "lock").open() as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("replace", [True, False])
def test_publish_to_nowhere_yet(tmp_path, replace):
    with workspace.beside(tmp_path / "out") as work:
        workspace.publish(make(work / "made", "new"), tmp_path / "out", replace=replace)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "new"


@pytest.mark.parametrize("replace", [True, False])
def test_publish_over_an_empty_folder(tmp_path, replace):
    (tmp_path / "out").mkdir()
    with workspace.beside(tmp_path / "out") as work:
        workspace.publish(make(work / "made", "new"), tmp_path / "out", replace=replace)
    assert (tmp_path / "out" / "file").read_text() == "new"


@pytest.mark.parametrize("can_swap", [True, False])
def test_publish_over_an_old_one(tmp_path, monkeypatch, can_swap):
    out = make(tmp_path / "out", "old")
    if not can_swap:
        monkeypatch.setattr(workspace, "_exchange", lambda one, other: False)
    with workspace.beside(out) as work:
        workspace.publish(make(work / "made", "new"), out, replace=True)
    assert (out / "file").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_publish_without_leave_to_replace(tmp_path):
    out = make(tmp_path / "out", "old")
    with workspace.beside(out) as work, pytest.raises(OSError, match="not empty"):
        workspace.publish(make(work / "made", "new"), out, replace=False)
    assert (out / "file").read_text() == "old"


def test_the_kernel_swaps_in_one_step(tmp_path):
    one, other = make(tmp_path / "one", "1"), make(tmp_path / "other", "2")
    assert workspace._exchange(one, other)
    assert ((one / "file").read_text(), (other / "file").read_text()) == ("2", "1")


def test_a_failed_swap_says_why(tmp_path):
    with pytest.raises(FileNotFoundError):
        workspace._exchange(tmp_path / "gone", tmp_path / "also gone")


def test_an_output_set_aside_by_a_killed_export_comes_back(tmp_path):
    stale = tmp_path / ".out.phial-dead"
    make(stale / "old", "precious")
    make(stale / "made", "new")
    (stale / "lock").touch()
    workspace.sweep(tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "precious"
    assert names(tmp_path) == ["out"]
