"""How layers are compressed: one fixed setting a format, so that the same tar gives the same bytes.

gzip: zlib by the standard library, a header without name and time. zstd: the package
`zstandard` in its multi-threaded mode, which cuts its jobs by size alone, so that any number of
workers gives the same bytes (the plain mode gives others); with a checksum. Another version of
either library may give other bytes for the same tar.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import IO, BinaryIO, Protocol, cast

import zstandard

from build.errors import InvalidImage
from build.oci import media

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MOST_WORKERS = 4  # each takes some 100 MB at level 19
_MALFORMED = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError, tarfile.TarError)
CHUNK_BYTES = 1024 * 1024


class Compression(Enum):
    """How a layer is stored."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"

    @property
    def media_type(self) -> str:
        """The media type of a layer that is stored so."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    Compression.GZIP: media.LAYER_GZIP,
    Compression.ZSTD: media.LAYER_ZSTD,
    Compression.NONE: media.LAYER_TAR,
}


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int:
        """Append `data`; returns its length."""


@contextmanager
def compressed(sink: Sink, compression: Compression, level: int | None) -> Iterator[Sink]:
    """A sink whose bytes reach `sink` compressed; `level` None is 9 for gzip and 19 for zstd."""
    target = cast(BinaryIO, sink)
    if compression is Compression.GZIP:
        with gzip.GzipFile("", "wb", 9 if level is None else level, target, mtime=0) as packed:
            yield packed
    elif compression is Compression.ZSTD:
        with _zstd(19 if level is None else level).stream_writer(target, closefd=False) as writer:
            yield writer
    else:
        yield sink


def _zstd(level: int) -> zstandard.ZstdCompressor:
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    return zstandard.ZstdCompressor(level=level, threads=workers, write_checksum=True)


@contextmanager
def decompressed(source: BinaryIO, what: str) -> Iterator[BinaryIO]:
    """A stream of the plain bytes of `source`, by its first bytes: gzip, zstd or neither.

    Reads forward only, and raises `InvalidImage` about `what` where the data is damaged. `source`
    stays open, and is the caller's to close.
    """
    buffered = io.BufferedReader(cast(io.RawIOBase, source))
    try:
        yield guarded(_plain(buffered), what)
    finally:
        buffered.detach()


def _plain(source: io.BufferedReader[io.RawIOBase]) -> IO[bytes]:
    start = source.peek(4)
    if start.startswith(_GZIP_MAGIC):
        return cast(IO[bytes], gzip.GzipFile(fileobj=source))
    if start.startswith(_ZSTD_MAGIC):
        reader = zstandard.ZstdDecompressor().stream_reader(
            source, read_across_frames=True, closefd=False
        )
        return cast(IO[bytes], reader)
    return source


def guarded(stream: IO[bytes], what: str) -> BinaryIO:
    """`stream`, whoever reads it, with `InvalidImage` about `what` for malformed data."""
    return io.BufferedReader(_Guarded(stream, what), CHUNK_BYTES)


class _Guarded(io.RawIOBase):
    def __init__(self, stream: IO[bytes], what: str) -> None:
        super().__init__()
        self._stream = stream
        self._what = what

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with self._checked():
            return self._stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with self._checked():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except _MALFORMED as error:
            raise InvalidImage(f"{self._what} is damaged: {error}") from error
