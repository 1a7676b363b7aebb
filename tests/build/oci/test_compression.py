"""The same bytes in, the same bytes out."""

import gzip
import io
import os
import random
import tarfile
import zlib

import pytest
import zstandard

from build.errors import InvalidImage
from build.oci import compression, media
from build.oci.compression import Compression


def pack(content, kind, level=None, piece_bytes=1 << 16):
    out = io.BytesIO()
    with compression.compressed(out, kind, level) as sink:
        for start in range(0, len(content), piece_bytes):
            sink.write(content[start : start + piece_bytes])
    return out.getvalue()


def unpack(content):
    with compression.decompressed(io.BytesIO(content), "it") as plain:
        return plain.read()


@pytest.fixture(scope="module")
def text():
    """Several jobs' worth for zstd at level 1, whose jobs are 2 MiB."""
    words = [b"alpha ", b"beta ", b"gamma ", b"delta\n"]
    return b"".join(random.Random(1).choices(words, k=1_500_000))


@pytest.mark.parametrize("kind", Compression)
@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 100_000])
def test_content_comes_back(kind, content):
    assert unpack(pack(content, kind)) == content


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        (Compression.GZIP, media.LAYER_GZIP),
        (Compression.ZSTD, media.LAYER_ZSTD),
        (Compression.NONE, media.LAYER_TAR),
    ],
)
def test_each_has_a_media_type(kind, media_type):
    assert kind.media_type == media_type


@pytest.mark.parametrize("kind", Compression)
def test_the_pieces_in_which_it_comes_do_not_matter(kind):
    content = b"abcdefg" * 30_000
    assert pack(content, kind) == pack(content, kind, piece_bytes=777)


def test_the_header_of_gzip_says_neither_name_nor_time():
    packed = pack(b"abc", Compression.GZIP)
    assert packed[:4] == b"\x1f\x8b\x08\x00"  # no flag: no name, no comment
    assert packed[4:8] == b"\0\0\0\0"


def test_the_workers_of_zstd_do_not_matter(text, monkeypatch):
    found = set()
    for workers in (1, 2, 3, 8):
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        found.add(pack(text, Compression.ZSTD, level=1))
    assert len(found) == 1
    assert unpack(found.pop()) == text


def test_the_workers_are_bounded_and_at_least_one(monkeypatch):
    content = b"x" * 100_000
    expected = pack(content, Compression.ZSTD)
    for cpus in (None, 512):
        monkeypatch.setattr(os, "cpu_count", lambda cpus=cpus: cpus)
        assert pack(content, Compression.ZSTD) == expected


@pytest.mark.parametrize(("kind", "fast", "usual"), [("gzip", 1, 9), ("zstd", 1, 19)])
def test_levels(text, kind, fast, usual):
    content = text[:500_000]
    packed = {level: pack(content, Compression(kind), level) for level in (fast, usual, None)}
    assert packed[usual] == packed[None]
    assert len(packed[usual]) < len(packed[fast])


def test_zstd_carries_a_checksum():
    parameters = zstandard.get_frame_parameters(pack(b"abc", Compression.ZSTD))
    assert parameters.has_checksum


def test_frames_one_after_the_other_are_one_stream():
    assert unpack(pack(b"ab", Compression.ZSTD) + pack(b"cd", Compression.ZSTD)) == b"abcd"
    assert unpack(gzip.compress(b"ab") + gzip.compress(b"cd")) == b"abcd"


def test_the_source_stays_open():
    source = io.BytesIO(pack(b"abc", Compression.GZIP))
    with compression.decompressed(source, "it"):
        pass
    assert not source.closed


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_damage_is_named(kind):
    packed = bytearray(pack(os.urandom(10_000), kind))
    packed[5000] ^= 0xFF
    with pytest.raises(InvalidImage, match="it is damaged"):
        unpack(bytes(packed))


def test_gzip_that_is_cut_short_is_named():
    with pytest.raises(InvalidImage, match="it is damaged"):
        unpack(pack(os.urandom(10_000), Compression.GZIP)[:-9])


class Broken(io.BytesIO):
    """A stream that fails as `error` says."""

    def __init__(self, error):
        super().__init__(b"abc")
        self.error = error

    def read(self, size=-1):
        raise self.error

    def seek(self, offset, whence=0):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [EOFError("e"), zlib.error("x"), zstandard.ZstdError("x"), tarfile.ReadError("x")],
)
def test_foreign_errors_are_wrapped(error):
    stream = compression.guarded(Broken(error), "it")
    with pytest.raises(InvalidImage, match="it is damaged: ") as caught:
        stream.read()
    assert caught.value.__cause__ is error
    with pytest.raises(InvalidImage, match="it is damaged: "):
        stream.seek(2)


def test_errors_of_the_disk_pass():
    with pytest.raises(OSError, match="disk"):
        compression.guarded(Broken(OSError("disk")), "it").read()


@pytest.mark.parametrize("kind", Compression)
def test_a_stream_goes_forward_by_seeking(kind):
    content = bytes(range(256)) * 20_000
    packed = io.BytesIO(pack(content, kind, level=1))
    with compression.decompressed(packed, "it") as plain:
        assert plain.read(3) == content[:3]
        assert plain.seek(3_000_000) == plain.tell() == 3_000_000
        assert plain.read(5) == content[3_000_000:3_000_005]
