"""A part of a file as a stream."""

import pytest

from build.oci.section import Section


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(0, 10, b"0123456789"), (2, 3, b"234"), (9, 1, b"9"), (4, 0, b"")],
)
def test_it_holds_its_part(path, offset, size, expected):
    with Section(path, offset, size).open() as stream:
        assert stream.read() == expected
        assert stream.read() == b""


def test_it_reads_piece_by_piece(path):
    with Section(path, 1, 5).open() as stream:
        assert [stream.read(2) for _ in range(4)] == [b"12", b"34", b"5", b""]


def test_a_file_that_became_shorter_ends(path):
    with Section(path, 8, 100).open() as stream:
        assert stream.read() == b"89"


def test_readers_do_not_disturb_each_other(path):
    section = Section(path, 0, 4)
    with section.open() as one, section.open() as other:
        assert one.read(2) == b"01"
        assert other.read() == b"0123"
        assert one.read() == b"23"


def test_closing_it_closes_the_file(path):
    stream = Section(path, 0, 4).open()
    raw = stream.raw
    stream.close()
    assert raw._file.closed
