"""The entries of a layer that is made from a folder: the same content gives the same entries."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from build.errors import InvalidImage
from build.oci import tape
from build.oci.tree import WHITEOUT

Entry = tuple[tarfile.TarInfo, IO[bytes] | None]
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def entries(folder: Path, prefix: str, epoch_s: int) -> Iterator[Entry]:
    """The files and folders of `folder` below `prefix`, sorted, with the folders of `prefix`.

    Files are 0644, folders 0755, all of root, whatever they are in `folder`. Raises
    `InvalidImage` for what is neither, and for a name that would hide a file of another layer.
    """
    base = PurePosixPath(tape.inner_path(prefix, "the layer"))
    for parent in [*reversed(base.parents), base]:
        if parent.name:
            yield _folder(str(parent), epoch_s), None
    yield from _below(folder, "" if base == PurePosixPath() else f"{base}/", epoch_s)


def _below(folder: Path, prefix: str, epoch_s: int) -> Iterator[Entry]:
    for path in sorted(
        folder.iterdir(), key=lambda path: path.name.encode(errors="surrogateescape")
    ):
        name, found = f"{prefix}{path.name}", path.lstat()
        if path.name.startswith(WHITEOUT):
            raise InvalidImage(f"{path} would be a whiteout in an image, expected another name")
        if stat.S_ISDIR(found.st_mode):
            yield _folder(name, epoch_s), None
            yield from _below(path, f"{name}/", epoch_s)
        elif stat.S_ISREG(found.st_mode):
            with path.open("rb") as content:
                yield _file(name, epoch_s, found.st_size), content
        else:
            raise InvalidImage(f"{path} is neither a file nor a folder")


def _folder(path: str, epoch_s: int) -> tarfile.TarInfo:
    return tape.entry(path, tarfile.DIRTYPE, mode=_FOLDER_MODE, epoch_s=epoch_s)


def _file(path: str, epoch_s: int, size_bytes: int) -> tarfile.TarInfo:
    return tape.entry(
        path, tarfile.REGTYPE, mode=_FILE_MODE, epoch_s=epoch_s, size_bytes=size_bytes
    )
