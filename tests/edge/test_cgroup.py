"""Which groups count: v1, v2 and both, nested, seen from a container or from the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import cgroup
from edge.cgroup import V2

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {shown} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
V2_MOUNTS = "30 23 0:26 {shown} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def proc(tmp_path):
    """Writes what the kernel says of this process, and returns the root."""

    def write(groups="", mounts=""):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
        (tmp_path / "proc/self/mountinfo").write_text(mounts)
        return tmp_path

    return write


def below(root, controller):
    return [str(folder.relative_to(root)) for folder in cgroup.folders(root, controller)]


def test_every_group_up_to_the_root_counts(proc):
    root = proc("0::/user.slice/phial.service\n", V2_MOUNTS.format(shown="/"))
    assert below(root, V2) == [
        "sys/fs/cgroup/user.slice/phial.service",
        "sys/fs/cgroup/user.slice",
        "sys/fs/cgroup",
    ]


def test_each_controller_of_v1_has_a_path_of_its_own(proc):
    groups = "4:memory:/a/b\n3:cpu,cpuacct:/c\n1:name=systemd:/d\n0::/e\n"
    root = proc(groups, V1_MOUNTS.format(shown="/"))
    assert below(root, "cpu")[0] == "sys/fs/cgroup/cpu,cpuacct/c"
    assert below(root, "cpuacct")[0] == "sys/fs/cgroup/cpu,cpuacct/c"
    assert below(root, "memory")[0] == "sys/fs/cgroup/memory/a/b"
    assert below(root, V2)[0] == "sys/fs/cgroup/unified/e"


@pytest.mark.parametrize(
    ("own", "shown", "first"),
    [
        ("/docker/1f", "/docker/1f", ""),  # the container's own group is mounted as the root
        ("/docker/1f/worker", "/docker/1f", "/worker"),
        ("/docker/1f", "/", "/docker/1f"),  # the host's whole tree is mounted
        ("/", "/", ""),  # a namespace of its own
        ("/", "/docker/1f", ""),
        ("/other", "/docker/1f", ""),
        ("/../../system.slice", "/", ""),  # moved out of the namespace's root
    ],
)
def test_what_a_container_sees(proc, own, shown, first):
    root = proc(f"3:cpu,cpuacct:{own}\n", V1_MOUNTS.format(shown=shown))
    found = below(root, "cpu")
    assert found[0] == f"sys/fs/cgroup/cpu,cpuacct{first}"
    assert found[-1] == "sys/fs/cgroup/cpu,cpuacct"


def test_without_the_kernels_help_the_usual_places_are_tried(tmp_path):
    assert below(tmp_path, V2) == ["sys/fs/cgroup"]
    assert below(tmp_path, "cpu") == ["sys/fs/cgroup/cpu"]


@given(groups=st.text(), mounts=st.text(), controller=st.sampled_from(["", "cpu", "memory"]))
@settings(deadline=None)
def test_no_text_of_the_kernels_is_too_odd(tmp_path_factory, groups, mounts, controller):
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    for name, text in (("cgroup", groups), ("mountinfo", mounts)):
        (root / "proc/self" / name).write_text(text, errors="replace")
    assert list(cgroup.folders(root, controller))


def test_a_file_that_cannot_be_read_is_empty(tmp_path):
    (tmp_path / "good").write_text(" 12\n")
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert cgroup.read(tmp_path / "good") == "12"
    assert cgroup.read(tmp_path / "odd") == cgroup.read(tmp_path / "none") == ""
    assert cgroup.read(tmp_path) == ""


def test_the_groups_of_this_process_are_there():
    found = [
        folder
        for controller in (V2, "cpu", "memory")
        for folder in cgroup.folders(Path("/"), controller)
    ]
    assert any((folder / "cgroup.procs").exists() for folder in found)
