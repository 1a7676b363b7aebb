"""What unpacking a tar would leave: one node a path, hard links as paths of the same node."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from build.errors import InvalidImage
from build.oci.tape import inner_path

WHITEOUT = ".wh."  # OCI image-spec, "Whiteouts"
_KNOWN = (
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE),
    *(tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A file, folder, link or device as `entry` of the tar describes it."""

    entry: tarfile.TarInfo


def read(tar: tarfile.TarFile, what: str) -> dict[str, Node]:
    """The nodes by path, whiteouts before their siblings and parents before children.

    A later entry replaces an earlier one. Raises `InvalidImage` about `what`.
    """
    nodes: dict[str, Node] = {}
    for info in tar:
        if info.type not in _KNOWN:
            raise InvalidImage(f"{what} holds {info.name!r} of the unknown kind {info.type!r}")
        if path := inner_path(info.name, what):
            nodes[path] = _node(info, nodes, what)
    _check_parents(nodes, what)
    return {path: nodes[path] for path in sorted(nodes, key=_order)}


def _node(info: tarfile.TarInfo, nodes: dict[str, Node], what: str) -> Node:
    """The node of `info`; that of its target, where it is a hard link."""
    if not info.islnk():
        return Node(info)
    target = inner_path(info.linkname, what)
    if target not in nodes:
        raise InvalidImage(f"{what} links {info.name!r} to {info.linkname!r}, which is not in it")
    return nodes[target]


def _check_parents(nodes: dict[str, Node], what: str) -> None:
    for path in nodes:
        for parent in _parents(path):
            if parent in nodes and not nodes[parent].entry.isdir():
                raise InvalidImage(f"{what} holds {path!r} below {parent!r}, which is no folder")


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _order(path: str) -> list[tuple[bool, bytes]]:
    parts = path.split("/")
    return [(not p.startswith(WHITEOUT), p.encode(errors="surrogateescape")) for p in parts]
