"""The OCI archive: a tar of an image layout, as `skopeo` and `podman load` take it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from build.oci import tape
from build.oci.descriptor import Descriptor
from build.oci.store import LAYOUT, Store, encode, encode_index

_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def write(store: Store, out: Path, manifests: Sequence[Descriptor] | None = None) -> None:
    """Write `manifests` and all they refer to as the tar `out`: same content, same bytes.

    They become the `index.json` as they are, names and all; None takes the store's own. Raises
    `InvalidImage` for a blob that is missing, `OSError` where `out` cannot be written.
    """
    roots = store.list() if manifests is None else tuple(manifests)
    digests = sorted({descriptor.digest for descriptor in store.reachable(roots)})
    paths = [store.path(digest) for digest in digests]
    with out.open("wb") as file, tape.writing(file) as tar:
        _add(tar, "oci-layout", encode(LAYOUT))
        _add(tar, "index.json", encode_index(roots))
        for folder in ("blobs", "blobs/sha256"):
            tar.addfile(tape.entry(folder, tarfile.DIRTYPE, mode=_FOLDER_MODE, epoch_s=0))
        for path in paths:
            info = _file(f"blobs/sha256/{path.name}", path.stat().st_size)
            with path.open("rb") as content:
                tar.addfile(info, content)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_file(name, len(content)), io.BytesIO(content))


def _file(name: str, size_bytes: int) -> tarfile.TarInfo:
    return tape.entry(name, tarfile.REGTYPE, mode=_FILE_MODE, epoch_s=0, size_bytes=size_bytes)
