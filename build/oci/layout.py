"""Copies of an image layout that hold what is offered, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from build.errors import InvalidImage
from build.oci.descriptor import Descriptor
from build.oci.store import CHUNK_BYTES, Store


def copy(store: Store, folder: Path, manifests: Sequence[Descriptor]) -> Store:
    """A layout in `folder` that offers `manifests`, under the names in their annotations.

    Every blob is checked on its way. Raises `InvalidImage` for one that is missing or damaged.
    """
    target = Store(folder)
    for blob in store.reachable(manifests):
        _copy(store, target, blob)
    target.offer(manifests)
    return target


def _copy(store: Store, target: Store, blob: Descriptor) -> None:
    with store.path(blob.digest).open("rb") as source, target.writer() as writer:
        while chunk := source.read(CHUNK_BYTES):
            writer.write(chunk)
        if (writer.digest, writer.size_bytes) != (blob.digest, blob.size_bytes):
            found = f"{writer.digest} and {writer.size_bytes} bytes"
            raise InvalidImage(f"blob {blob.digest} has {found}, expected {blob.size_bytes} bytes")
