"""Reading and writing tar strictly: nothing is silently cut short, and nothing depends on chance.

What is written is POSIX pax, with extended headers only where a plain one cannot hold a value.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from build.errors import InvalidImage
from build.oci.compression import Sink

_COPY_BYTES = 1024 * 1024
_CAPABILITY = "SCHILY.xattr.security.capability"
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}


class _StrictInfo(tarfile.TarInfo):
    """Headers of which a damaged one is an error; `tarfile` takes it for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _StrictInfo:
        """The next header; the end is two blocks of zeros and nothing else."""
        try:
            return super().fromtarfile(tar)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"{error}, where a file or the end is due") from error


@contextmanager
def opened(source: BinaryIO, what: str) -> Iterator[tarfile.TarFile]:
    """The plain tar `source`, which is only read forward unless the caller goes back.

    Raises `InvalidImage` about `what`, here and wherever the caller reads on inside the block.
    """
    try:
        with tarfile.TarFile(fileobj=source, tarinfo=_StrictInfo, **_TEXT) as tar:
            yield tar
    except tarfile.TarError as error:
        raise InvalidImage(f"{what} is no whole tar archive: {error}") from error


@contextmanager
def writing(sink: Sink) -> Iterator[tarfile.TarFile]:
    """A tar whose bytes go to `sink`; the end is written with the end of the block."""
    tar = tarfile.TarFile(
        fileobj=_Counted(sink),  # type: ignore[arg-type]
        mode="w",
        format=tarfile.PAX_FORMAT,
        copybufsize=_COPY_BYTES,
        **_TEXT,
    )
    yield tar
    tar.close()


class _Counted:
    """What `tarfile` wants of a file that it writes: a place to write to, and where it is."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._written_bytes = 0

    def write(self, data: bytes) -> int:
        self._written_bytes += len(data)
        return self._sink.write(data)

    def tell(self) -> int:
        return self._written_bytes


def entry(
    path: str, kind: bytes, *, mode: int, epoch_s: int, size_bytes: int = 0
) -> tarfile.TarInfo:
    """An entry that belongs to root; `kind` is one of the type constants of `tarfile`."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.mtime = kind, mode, size_bytes, epoch_s
    return info


def settled(info: tarfile.TarInfo, path: str, epoch_s: int) -> tarfile.TarInfo:
    """`info` under `path` without what varies: times, names of owners, extended attributes.

    Numeric owner, mode, link and device stay, and of the attributes file capabilities.
    """
    kind = tarfile.REGTYPE if info.isreg() else info.type
    size = info.size if info.isreg() else 0
    fresh = entry(path, kind, mode=info.mode & 0o7777, epoch_s=epoch_s, size_bytes=size)
    fresh.uid, fresh.gid = info.uid, info.gid
    fresh.linkname = info.linkname if info.issym() else ""
    if info.ischr() or info.isblk():
        fresh.devmajor, fresh.devminor = info.devmajor, info.devminor
    if _CAPABILITY in info.pax_headers:
        fresh.pax_headers = {_CAPABILITY: info.pax_headers[_CAPABILITY]}
    return fresh


def inner_path(name: str, what: str) -> str:
    """`name` relative to the root, "" for the root itself; raises `InvalidImage` for `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InvalidImage(f"{what} holds the path {name!r}, expected one that stays inside")
    return "/".join(parts)
