"""Docker's image archive: what `docker save` writes and `docker load` and `podman load` take.

A tar with `manifest.json`, a list of `{"Config", "RepoTags", "Layers"}` that name members of the
tar (Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format"). Docker
up to 24 and podman keep layers as `ID/layer.tar`, a second use of one as a symbolic link; Docker
25 and later keep them in `blobs/sha256/`, perhaps compressed.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from build.errors import InvalidImage
from build.oci import graph, image, layer, tape
from build.oci.descriptor import Descriptor
from build.oci.section import Section
from build.oci.store import Store, decode, encode

_MANIFEST = "manifest.json"
_MODE = 0o644
_MOST_LINKS = 16
_MOST_JSON_BYTES = 16 * 1024 * 1024
_NAMED_BY_HASH = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive on the disk: the JSON of its config, and where its layers lie, lowest first."""

    config: Mapping[str, Any]
    layers: tuple[Section, ...]
    diff_ids: tuple[str, ...]

    def open_layer(self, index: int) -> BinaryIO:
        """A stream of layer `index` as it is stored, compressed or not; the caller closes it."""
        return self.layers[index].open()


def read(path: Path) -> Archive:
    """Open the archive `path` of one image; raises `InvalidImage`."""
    archive = _Tape(path)
    entry = _entry(archive.json(_MANIFEST), archive.what)
    config = _config(archive, entry["Config"])
    layers = tuple(map(archive.part, entry["Layers"]))
    return Archive(config, layers, image.diff_ids(config, len(layers)))


def write(store: Store, manifest: Descriptor, reference: str, out: Path) -> None:
    """Write the image `manifest` as `out`, to be loaded under the name `reference`.

    The config goes in as it is, so that the image's id is the config's digest, and the layers
    plain. Raises `InvalidImage` for layers that are not what the config says.
    """
    config = graph.children(manifest, store.read_json(manifest))[0]
    layers = image.read(store, manifest).layers
    names = {part.diff_id: f"{_hex(part.diff_id)}.tar" for part in layers}
    config_name, order = f"{_hex(config.digest)}.json", [names[part.diff_id] for part in layers]
    entry = {"Config": config_name, "RepoTags": [reference], "Layers": order}
    with out.open("wb") as file, tape.writing(file) as tar:
        _add(tar, _MANIFEST, encode([entry]))
        _add(tar, config_name, store.read(config))
        for part in {part.diff_id: part for part in layers}.values():
            info = _file(names[part.diff_id], layer.plain_size(store, part))
            with layer.plain(store, part.descriptor) as content:
                tar.addfile(info, content)


class _Tape:
    """The members of the tar `path`, their links resolved inside it."""

    def __init__(self, path: Path) -> None:
        self.what = f"archive {path.name}"
        self._path = path
        with path.open("rb") as file, tape.opened(file, self.what) as tar:
            self._members = {tape.inner_path(info.name, self.what): info for info in tar}

    def part(self, name: Any) -> Section:
        """Where the file `name` lies; raises `InvalidImage`."""
        info = self._resolved(name)
        if info is None or not info.isreg():
            raise InvalidImage(f"{self.what} lacks the file {name!r}")
        return Section(self._path, info.offset_data, info.size)

    def json(self, name: Any) -> Any:
        """The content of the JSON file `name`; raises `InvalidImage`."""
        return decode(self.content(name), f"{name} of {self.what}")

    def content(self, name: Any) -> bytes:
        """The content of the small file `name`; raises `InvalidImage`."""
        part = self.part(name)
        if part.size_bytes > _MOST_JSON_BYTES:
            size = part.size_bytes
            raise InvalidImage(f"{name} of {self.what} has {size} bytes, expected a small file")
        with part.open() as stream:
            return stream.read()

    def _resolved(self, name: Any) -> tarfile.TarInfo | None:
        path = posixpath.normpath(name) if isinstance(name, str) else ""
        for _ in range(_MOST_LINKS):
            info = self._members.get(path)
            if info is None or not (info.issym() or info.islnk()):
                return info
            base = posixpath.dirname(path) if info.issym() else ""
            path = posixpath.normpath(posixpath.join(base, info.linkname))
        return None


def _entry(manifest: Any, what: str) -> dict[str, Any]:
    """The one entry of `manifest.json`."""
    if not isinstance(manifest, list) or len(manifest) != 1:
        found = f"{len(manifest)} images" if isinstance(manifest, list) else "no list"
        raise InvalidImage(f"{_MANIFEST} of {what} holds {found}, expected one image")
    entry = manifest[0]
    if not isinstance(entry, dict) or not isinstance(entry.get("Layers"), list):
        raise InvalidImage(f"{_MANIFEST} of {what} is {manifest!r}, expected Config and Layers")
    return {"Config": entry.get("Config"), "Layers": entry["Layers"]}


def _config(archive: _Tape, name: Any) -> dict[str, Any]:
    """The config, whose name is its hash in every archive that names it so."""
    content = archive.content(name)
    named, found = _NAMED_BY_HASH.fullmatch(name), hashlib.sha256(content).hexdigest()
    if named and named[1] != found:
        raise InvalidImage(f"config {name} of {archive.what} has the digest sha256:{found}")
    config = decode(content, f"config {name} of {archive.what}")
    if not isinstance(config, dict):
        raise InvalidImage(f"config {name} of {archive.what} is no JSON object")
    return config


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_file(name, len(content)), io.BytesIO(content))


def _file(name: str, size_bytes: int) -> tarfile.TarInfo:
    return tape.entry(name, tarfile.REGTYPE, mode=_MODE, epoch_s=0, size_bytes=size_bytes)
