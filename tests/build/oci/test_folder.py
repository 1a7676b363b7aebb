"""The entries of a folder."""

import os

import pytest

from build.errors import InvalidImage
from build.oci import folder


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    (path / "b" / "deep").mkdir(parents=True)
    (path / "a.txt").write_bytes(b"abc")
    (path / "b" / "deep" / "file").write_bytes(b"x" * 10)
    (path / "Z").write_bytes(b"")
    return path


def listed(source, prefix="model"):
    found = []
    for info, stream in folder.entries(source, prefix, 7):
        content = stream.read() if stream else None
        found.append((info.name, info.mode, info.isdir(), content))
        assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 7)
        assert info.size == len(content or b"")
    return found


def test_files_and_folders_are_sorted_below_the_prefix(source):
    assert listed(source) == [
        ("model", 0o755, True, None),
        ("model/Z", 0o644, False, b""),
        ("model/a.txt", 0o644, False, b"abc"),
        ("model/b", 0o755, True, None),
        ("model/b/deep", 0o755, True, None),
        ("model/b/deep/file", 0o644, False, b"x" * 10),
    ]


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [("srv/model", ["srv", "srv/model"]), ("/model/", ["model"]), ("", []), (".", [])],
)
def test_the_folders_of_the_prefix_come_first(source, prefix, folders):
    names = [name for name, *_ in listed(source, prefix)]
    assert names[: len(folders)] == folders
    assert names[len(folders)] == "/".join([*folders[-1:], "Z"])


def test_modes_and_times_of_the_source_do_not_matter(source):
    before = listed(source)
    (source / "a.txt").chmod(0o400)
    (source / "b").chmod(0o700)
    os.utime(source / "a.txt", (1, 1))
    assert listed(source) == before


def test_a_prefix_stays_inside(source):
    with pytest.raises(InvalidImage, match="expected one that stays inside"):
        listed(source, "../model")


@pytest.mark.parametrize("target", ["a.txt", "/etc/passwd", "nowhere"])
def test_links_are_refused(source, target):
    (source / "link").symlink_to(target)
    with pytest.raises(InvalidImage, match="link is neither a file nor a folder"):
        listed(source)


def test_pipes_are_refused(source):
    os.mkfifo(source / "pipe")
    with pytest.raises(InvalidImage, match="pipe is neither a file nor a folder"):
        listed(source)


def test_whiteouts_are_refused(source):
    (source / "b" / ".wh.gone").touch()
    with pytest.raises(InvalidImage, match="would be a whiteout in an image"):
        listed(source)
