"""What stands in an image once its layers lie on top of each other.

Source: OCI image-spec 1.1, layer.md, "Applying Changesets" and "Whiteouts". Nothing is unpacked:
paths, sizes and the content of a few small files are kept in memory.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO

from build.errors import InvalidImage
from build.oci.image import Image
from build.oci.layer import Entry, entries
from build.oci.store import Store
from build.oci.tape import inner_path

_LAYER = "a layer"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MOST_BYTES = 8 * 1024 * 1024
_MOST_LINKS = 40  # what Linux follows before it says ELOOP


@dataclass(frozen=True, slots=True)
class Node:
    """An entry: a file of `size_bytes`, a folder, or a symlink with its `target`.

    `content` is there for the files that were wanted. A hard link has no bytes of its own.
    """

    is_file: bool = False
    is_folder: bool = False
    size_bytes: int = 0
    target: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The merged entries, by path from the root without a leading slash."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, Node]]:
        """The regular files, sorted by path."""
        return ((path, node) for path, node in sorted(self.nodes.items()) if node.is_file)

    def read(self, path: str) -> bytes | None:
        """The content of `path`, links followed as inside the image; None where there is none."""
        found = self.nodes.get(self._real(path))
        return found.content if found else None

    def _real(self, path: str) -> str:
        """`path` without symlinks; they cannot leave the root."""
        done, rest, hops = "", path.split("/"), 0
        while rest:
            place = _join(done, rest.pop(0))
            target = self.nodes.get(place, Node()).target
            if not target:
                done = place
                continue
            hops += 1
            if hops > _MOST_LINKS:
                return ""
            done = "" if target.startswith("/") else posixpath.dirname(place)
            rest = [*target.split("/"), *rest]
        return done


def merged(image: Image, store: Store, wanted: re.Pattern[str]) -> FileSystem:
    """The tree of `image`, with the content of the files whose whole path matches `wanted`.

    Raises `InvalidImage` for paths that leave the root and for wanted files over 8 MiB.
    """
    nodes: dict[str, Node] = {}
    for layer in image.layers:
        nodes = _stacked(nodes, entries(store, layer.descriptor), wanted)
    return FileSystem(nodes)


def _stacked(
    lower: dict[str, Node], layer: Iterable[Entry], wanted: re.Pattern[str]
) -> dict[str, Node]:
    """`lower` with a layer on top; whiteouts hide what is below, never what stands beside them."""
    upper: dict[str, Node] = {}
    gone: set[str] = set()
    emptied: set[str] = set()
    for info, stream in layer:
        path = inner_path(info.name, _LAYER)
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            emptied.add(folder)
        elif name.startswith(_WHITEOUT):
            gone.add(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif info.islnk():
            upper[path] = _hard_link(inner_path(info.linkname, _LAYER), upper, lower)
        elif path:
            upper[path] = _node(path, info, stream, wanted)
    emptied |= {path for path, node in upper.items() if not node.is_folder}
    kept = {path: node for path, node in lower.items() if not _is_hidden(path, gone, emptied)}
    return kept | upper


def _is_hidden(path: str, gone: set[str], emptied: set[str]) -> bool:
    if path in gone:
        return True
    above = path
    while above:
        above = posixpath.dirname(above)
        if above in gone or above in emptied:
            return True
    return False


def _node(
    path: str, info: tarfile.TarInfo, stream: IO[bytes] | None, wanted: re.Pattern[str]
) -> Node:
    if info.isdir():
        return Node(is_folder=True)
    if info.issym():
        return Node(target=info.linkname)
    if not info.isreg() or stream is None:
        return Node()
    content = _content(path, info.size, stream) if wanted.fullmatch(path) else None
    return Node(is_file=True, size_bytes=info.size, content=content)


def _content(path: str, size_bytes: int, stream: IO[bytes]) -> bytes:
    if size_bytes > _MOST_BYTES:
        raise InvalidImage(f"{path} has {size_bytes} bytes, expected at most {_MOST_BYTES}")
    return stream.read()


def _hard_link(target: str, upper: dict[str, Node], lower: dict[str, Node]) -> Node:
    found = upper.get(target) or lower.get(target)
    return replace(found, size_bytes=0) if found else Node()


def _join(folder: str, part: str) -> str:
    if part == "..":
        return posixpath.dirname(folder)
    return folder if part in ("", ".") else posixpath.join(folder, part)
