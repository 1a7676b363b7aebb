"""Tar, read and written strictly."""

import gzip
import io
import tarfile

import pytest

from build.errors import InvalidImage
from build.oci import tape
from tests.build.oci.layer_samples import entry, file, folder, tar

WHOLE = tar(file("a", b"x" * 700), file("b", b"y"))
NAMES = ["a", "b"]


def read(content):
    with tape.opened(io.BytesIO(content), "it") as archive:
        return [info.name for info in archive]


def written(*entries):
    out = io.BytesIO()
    with tape.writing(out) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def test_a_whole_archive_is_read():
    assert read(WHOLE) == NAMES


def test_an_empty_archive_is_one():
    assert read(bytes(1024)) == []


def test_it_is_read_forward_only():
    source = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(WHOLE)))
    source.rewind = None  # what going back would need
    with tape.opened(source, "it") as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}
    assert found == {"a": b"x" * 700, "b": b"y"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty header"),
        (b"no tar at all", "truncated header"),
        (b"x" * 2048, "bad checksum|invalid header"),
        (WHOLE[:200], "truncated header"),
        (WHOLE[:900], "unexpected end of data"),
        (WHOLE[:1536], "empty header"),  # where the second file is due
        (WHOLE[:1700], "truncated header"),
        (WHOLE[:1536] + b"x" * 2048, "bad checksum|invalid header"),
        (WHOLE[: 1536 + 1024], "empty header"),  # no end
    ],
)
def test_an_archive_that_is_cut_short_is_named(content, reason):
    with pytest.raises(InvalidImage, match=f"it is no whole tar archive: .*({reason})"):
        read(content)


def test_an_error_later_on_is_named_too():
    with (
        pytest.raises(InvalidImage, match="it is no whole tar archive"),
        tape.opened(io.BytesIO(WHOLE), "it"),
    ):
        raise tarfile.ReadError("later")


def test_plain_headers_where_they_do():
    content = written(file("a" * 100, b"x", uid=0o7777777))
    assert content[156:157] == tarfile.REGTYPE


@pytest.mark.parametrize("path", ["a" * 101, "é", "x/" * 60 + "\udcff"])
def test_extended_headers_where_they_must(path):
    content = written(file(path, b"x"))
    assert content[156:157] == tarfile.XHDTYPE
    assert read(content) == [path]


def test_the_end_is_written():
    assert written() == bytes(tarfile.RECORDSIZE)
    assert len(written(file("a", b"x"))) % tarfile.RECORDSIZE == 0


def test_content_that_is_too_short_is_an_error():
    info, _ = file("a", b"abc")
    with pytest.raises(OSError, match="unexpected end of data"), tape.writing(io.BytesIO()) as out:
        out.addfile(info, io.BytesIO(b"a"))


def test_an_entry_belongs_to_root():
    info = tape.entry("a", tarfile.DIRTYPE, mode=0o755, epoch_s=7)
    assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
    assert (info.name, info.mode, info.mtime, info.size) == ("a", 0o755, 7, 0)


def test_what_varies_is_settled():
    before = file("./a", b"abc", mode=0o4755, uid=10, gid=20, mtime=99.5)[0]
    info = tape.settled(before, "a", 7)
    assert (info.name, info.mtime, info.uname, info.gname) == ("a", 7, "", "")
    assert (info.mode, info.uid, info.gid, info.size) == (0o4755, 10, 20, 3)


def test_of_the_attributes_capabilities_stay():
    capability = {"SCHILY.xattr.security.capability": "\x01\0\0\x02"}
    others = {"SCHILY.xattr.user.note": "x", "atime": "1.5", "ctime": "2.5", "mtime": "3.5"}
    assert tape.settled(file("a", pax=capability | others)[0], "a", 7).pax_headers == capability
    assert tape.settled(file("a", pax=others)[0], "a", 7).pax_headers == {}


def test_the_numbers_of_a_device_stay():
    device = entry("null", tarfile.CHRTYPE, mode=0o666)
    device.devmajor, device.devminor = 1, 3
    info = tape.settled(device, "null", 7)
    assert (info.type, info.devmajor, info.devminor) == (tarfile.CHRTYPE, 1, 3)


def test_a_link_has_its_target_and_a_file_none():
    link = entry("a", tarfile.SYMTYPE, target="../b")
    assert tape.settled(link, "a", 7).linkname == "../b"
    plain = entry("a", tarfile.REGTYPE, target="nonsense")
    assert tape.settled(plain, "a", 7).linkname == ""


@pytest.mark.parametrize("kind", [tarfile.AREGTYPE, tarfile.CONTTYPE])
def test_old_kinds_of_files_are_files(kind):
    assert tape.settled(entry("a", kind), "a", 7).type == tarfile.REGTYPE


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b", "a/b"), ("./a", "a"), ("a/", "a"), ("/a//b/./c/", "a/b/c"), (".", ""), ("./", "")],
)
def test_paths_have_one_form(name, expected):
    assert tape.inner_path(name, "it") == expected


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", "a/..", "/../a", "a\0b"])
def test_paths_stay_inside(name):
    with pytest.raises(InvalidImage, match=r"it holds the path .*, expected one that stays"):
        tape.inner_path(name, "it")


def test_a_folder_reads_back():
    assert read(tar(folder("a/"))) == ["a"]
