"""Layers: tars of files, written so that the same content gives the same bytes.

OCI image-spec 1.1, "Image Layer Filesystem Changeset". `diff_id` is the digest of the plain tar.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from build.errors import InvalidImage
from build.oci import compression as packing
from build.oci import tape, tree
from build.oci.compression import Compression, Sink
from build.oci.descriptor import Descriptor
from build.oci.folder import entries as folder_entries
from build.oci.store import CHUNK_BYTES, Store

Entry = tuple[tarfile.TarInfo, IO[bytes] | None]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a store: `descriptor` of the blob as stored, `diff_id` of its plain tar."""

    descriptor: Descriptor
    diff_id: str


def normalise(
    source: BinaryIO | Path,
    store: Store,
    *,
    epoch_s: int,
    compression: Compression,
    level: int | None = None,
    diff_id: str = "",
) -> Layer:
    """Write the layer tar `source`, compressed or not, again in its one form.

    Sorted by path, whiteouts first among their siblings; every time is `epoch_s` (seconds since
    1970); of a path that comes twice the last counts; hard links lead to the first path of their
    file; the root itself is left out. With `diff_id` the plain tar must have that digest. Raises
    `InvalidImage` for what is no layer. Needs as much free disk as the plain tar is large.
    """
    with (
        source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream,
        _spooled(stream, store.folder, diff_id) as spool,
        tape.opened(spool, "the layer") as tar,
    ):
        return write(_settled(tar, epoch_s), store, compression, level)


def of_folder(
    folder: Path,
    prefix: str,
    store: Store,
    *,
    epoch_s: int,
    compression: Compression,
    level: int | None = None,
) -> Layer:
    """A layer of the files of `folder` below the path `prefix`, e.g. `model`.

    Files are 0644, folders 0755, all of root, whatever they are in `folder`. Raises
    `InvalidImage` for what is neither file nor folder.
    """
    return write(folder_entries(folder, prefix, epoch_s), store, compression, level)


def entries(store: Store, descriptor: Descriptor) -> Iterator[Entry]:
    """The entries of a stored layer with a stream of each file, to be read before the next one.

    Raises `InvalidImage` where the layer is missing or damaged.
    """
    what = f"layer {descriptor.digest}"
    with plain(store, descriptor) as stream, tape.opened(stream, what) as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            yield info, packing.guarded(content, what) if content else None


@contextmanager
def plain(store: Store, descriptor: Descriptor) -> Iterator[BinaryIO]:
    """The plain tar of a stored layer, to be read forward.

    Raises `InvalidImage` where the layer is missing or, as it is read, damaged.
    """
    with (
        store.path(descriptor.digest).open("rb") as file,
        packing.decompressed(file, f"layer {descriptor.digest}") as stream,
    ):
        yield stream


def plain_size(store: Store, layer: Layer) -> int:
    """How many bytes the plain tar of `layer` has; raises `InvalidImage` where it is another."""
    counted = _Digested()
    with plain(store, layer.descriptor) as stream:
        _copy(stream, counted)
    if counted.digest != layer.diff_id:
        found, expected = counted.digest, layer.diff_id
        raise InvalidImage(f"layer {layer.descriptor.digest} holds {found}, expected {expected}")
    return counted.size_bytes


def write(
    content: Iterable[Entry], store: Store, compression: Compression, level: int | None = None
) -> Layer:
    """A layer of `content` in the order given; the caller answers for its form."""
    with store.writer() as blob, packing.compressed(blob, compression, level) as packed:
        counted = _Digested(packed)
        with tape.writing(counted) as tar:
            for info, stream in content:
                tar.addfile(info, stream)
    descriptor = Descriptor(compression.media_type, blob.digest, blob.size_bytes)
    return Layer(descriptor, counted.digest)


class _Digested:
    """Passes bytes on, and knows their digest and size."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._sink.write(data) if self._sink else len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _copy(stream: BinaryIO, sink: Sink) -> None:
    while chunk := stream.read(CHUNK_BYTES):
        sink.write(chunk)


@contextmanager
def _spooled(source: BinaryIO, folder: Path, diff_id: str) -> Iterator[BinaryIO]:
    """The plain tar of `source` in a file of `folder` that can be read in any order."""
    with tempfile.TemporaryFile(dir=folder) as spool:
        counted = _Digested(spool)
        with packing.decompressed(source, "the layer") as stream:
            _copy(stream, counted)
        if diff_id and counted.digest != diff_id:
            raise InvalidImage(f"the layer has the diff_id {counted.digest}, expected {diff_id}")
        spool.seek(0)
        yield cast(BinaryIO, spool)


def _settled(tar: tarfile.TarFile, epoch_s: int) -> Iterator[Entry]:
    """The entries of `tar` in order and without what varies."""
    first: dict[tree.Node, str] = {}
    for path, node in tree.read(tar, "the layer").items():
        if node in first:
            link = tape.entry(path, tarfile.LNKTYPE, mode=node.entry.mode, epoch_s=epoch_s)
            link.linkname, link.uid, link.gid = first[node], node.entry.uid, node.entry.gid
            yield link, None
            continue
        first[node] = path
        content = tar.extractfile(node.entry) if node.entry.isreg() else None
        yield tape.settled(node.entry, path, epoch_s), content
