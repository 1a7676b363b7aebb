import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.bars import quota
from tests.bench.bars.quota import Group, NoGroup, limited


@pytest.fixture
def v1(tmp_path, monkeypatch):
    """A tree like cgroup v1's: the kernel fills a new group with files."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cgroup.procs").touch()
    fill(monkeypatch, "cpu.cfs_quota_us", "cpu.cfs_period_us", "cgroup.procs")
    return tmp_path


@pytest.fixture
def v2(tmp_path, monkeypatch):
    (tmp_path / "cgroup.subtree_control").write_text("cpuset cpu memory\n")
    fill(monkeypatch, "cpu.max", "cgroup.procs")
    return tmp_path


def fill(monkeypatch, *names):
    """`mkdir` makes the files of a group, `rmdir` removes them, as in a control group."""
    mkdir, rmdir = Path.mkdir, Path.rmdir

    def make(self, *arguments, **named):
        mkdir(self, *arguments, **named)
        for name in names:
            (self / name).touch()

    def remove(self):
        for path in self.iterdir():
            path.unlink()
        rmdir(self)

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "rmdir", remove)


def test_a_group_of_v1_has_a_quota_of_its_period(v1):
    with limited(1.5, v1) as group:
        assert group.folder.parent == v1 / "cpu" == group.seen
        assert (group.folder / "cpu.cfs_period_us").read_text() == "100000"
        assert (group.folder / "cpu.cfs_quota_us").read_text() == "150000"
    assert not group.folder.exists()


def test_a_group_of_v2_has_both_in_one_file(v2):
    with limited(0.5, v2) as group:
        assert group.folder.parent == v2 == group.seen
        assert (group.folder / "cpu.max").read_text() == "50000 100000"
    assert not group.folder.exists()


def test_groups_of_several_quotas_are_there_at_a_time(v1):
    with limited(0.5, v1) as half, limited(1.0, v1) as whole:
        assert half.folder != whole.folder
        assert str(os.getpid()) in half.folder.name


def test_the_group_goes_when_the_measurement_fails(v1):
    with pytest.raises(ZeroDivisionError), limited(1.0, v1) as group:
        raise ZeroDivisionError
    assert not group.folder.exists()


def test_without_a_cpu_controller_that_is_said(tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    with pytest.raises(NoGroup, match="neither cgroup v1 nor v2"), limited(1.0, tmp_path):
        pass


def test_a_tree_that_cannot_be_written_is_named(v1, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(quota, "_limit", refuse)
    with pytest.raises(NoGroup, match="cannot be made: Read-only"), limited(1.0, v1):
        pass
    assert [path.name for path in (v1 / "cpu").iterdir()] == ["cgroup.procs"]


def test_without_unshare_that_is_said(v1, monkeypatch):
    monkeypatch.setenv("PATH", str(v1))
    with pytest.raises(NoGroup, match="unshare"), limited(1.0, v1):
        pass


def test_a_command_enters_the_group_and_sees_it_as_its_own():
    group = Group(Path("/groups/mine"), Path("/groups"))
    command = group.inside(["server", "--port", "1"])
    assert command[0] == "unshare"
    assert command[-3:] == ["server", "--port", "1"]
    script = command[command.index("-c") + 1]
    words = command[command.index("-c") + 2 :]
    assert words[:2] == ["/groups/mine", "/groups"]
    assert script.index("cgroup.procs") < script.index("mount --bind") < script.index("exec")


def test_the_script_hands_every_word_on(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mount").write_text("#!/bin/sh\necho mounted $2 on $3\n")
    (tools / "mount").chmod(0o755)
    folder = tmp_path / "group"
    folder.mkdir()
    words = Group(folder, Path("/seen")).inside([sys.executable, "-c", "print('a  b')"])
    done = subprocess.run(
        words[words.index("sh") :],
        env={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"mounted {folder} on /seen", "a  b"]
    assert int((folder / "cgroup.procs").read_text()) > 0
