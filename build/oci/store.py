"""An OCI image layout in a folder (OCI image-spec 1.1, "Image Layout").

`blobs/sha256/HEX` holds the content, `index.json` names what is on offer, `oci-layout` the
version. A blob is written to a temporary name and renamed: whoever finds one finds it whole.
Errors of the file system pass through as `OSError`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor, Platform, checked_digest

CHUNK_BYTES = 1024 * 1024
LAYOUT = {"imageLayoutVersion": "1.0.0"}
_MODE = 0o644
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@+/-]{0,254}")  # every tag is one


def encode(value: Any) -> bytes:
    """JSON in one form only: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def encode_index(manifests: Iterable[Descriptor]) -> bytes:
    """The content of an `index.json` that offers `manifests`."""
    listed = [manifest.as_json() for manifest in manifests]
    return encode({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": listed})


def named(descriptor: Descriptor, reference: str) -> Descriptor:
    """`descriptor` under the name `reference`; raises `InvalidImage` for what cannot be one."""
    if not _REFERENCE.fullmatch(reference):
        raise InvalidImage(f"name of an image is {reference!r}, expected a tag such as 3 or v1.0")
    return replace(descriptor, annotations={**descriptor.annotations, media.REF_NAME: reference})


Problems = list[str]  # a class with a method `list` has no other way to say so


class BlobWriter:
    """Takes the content of one blob; `digest` and `size_bytes` say what was written so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append `data`; returns its length."""
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of all that was written."""
        return f"sha256:{self._hash.hexdigest()}"


class Store:
    """The layout in `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        if not (folder / "oci-layout").exists():
            self._replace("oci-layout", encode(LAYOUT))
        if not (folder / "index.json").exists():
            self.offer(())

    def put(
        self,
        content: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        artifact_type: str = "",
    ) -> Descriptor:
        """Keep `content`; returns its descriptor."""
        with self.writer() as blob:
            blob.write(content)
        notes = annotations or {}
        size = blob.size_bytes
        return Descriptor(media_type, blob.digest, size, notes, platform, artifact_type)

    def put_json(
        self,
        value: Any,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        artifact_type: str = "",
    ) -> Descriptor:
        """Keep `value` as canonical JSON (see `encode`); returns its descriptor."""
        return self.put(
            encode(value),
            media_type,
            annotations=annotations,
            platform=platform,
            artifact_type=artifact_type,
        )

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Write one blob piece by piece; on an error nothing of it stays."""
        with self._fresh() as (file, path):
            writer = BlobWriter(file)
            yield writer
            file.close()
            path.rename(self._blobs / writer.digest.removeprefix("sha256:"))

    def path(self, digest: str) -> Path:
        """Where the blob lies; raises `InvalidImage` where it is absent or `digest` malformed."""
        path = self._blobs / checked_digest(digest).removeprefix("sha256:")
        if not path.is_file():
            raise InvalidImage(f"blob {digest} is missing from {self.folder}")
        return path

    def read(self, descriptor: Descriptor) -> bytes:
        """The content, whose size and digest are checked; raises `InvalidImage`."""
        path = self.path(descriptor.digest)
        if problem := _size_problem(path, descriptor):
            raise InvalidImage(problem)
        content = path.read_bytes()
        if (found := f"sha256:{hashlib.sha256(content).hexdigest()}") != descriptor.digest:
            raise InvalidImage(f"blob {descriptor.digest} has the digest {found}")
        return content

    def read_json(self, descriptor: Descriptor) -> Any:
        """The content as JSON; raises `InvalidImage`."""
        return decode(self.read(descriptor), f"blob {descriptor.digest}")

    def list(self) -> tuple[Descriptor, ...]:
        """What `index.json` offers; raises `InvalidImage` where it is no index."""
        index = decode((self.folder / "index.json").read_bytes(), "index.json")
        manifests = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(manifests, list):
            raise InvalidImage(f"index.json of {self.folder} has no list of manifests")
        return tuple(map(Descriptor.from_json, manifests))

    def name(self, descriptor: Descriptor, reference: str) -> None:
        """Offer `descriptor` under the name `reference`, in place of what had the name before."""
        others = [o for o in self.list() if o.annotations.get(media.REF_NAME) != reference]
        self.offer([*others, named(descriptor, reference)])

    def offer(self, manifests: Iterable[Descriptor]) -> None:
        """Let `index.json` offer `manifests` as they are, and nothing else."""
        self._replace("index.json", encode_index(manifests))

    def reachable(self, roots: Iterable[Descriptor]) -> Iterator[Descriptor]:
        """Every blob below `roots`, each once and before what refers to it.

        Raises `InvalidImage` for a manifest that is missing or malformed.
        """
        yield from self._walk(roots, set())

    def verify(self) -> Problems:
        """What is wrong with the blobs that `index.json` leads to, a sentence each."""
        try:
            found = list(self.reachable(self.list()))
        except InvalidImage as error:
            return list(error.problems)
        return [problem for blob in found if (problem := self._problem(blob))]

    def _walk(self, roots: Iterable[Descriptor], seen: set[str]) -> Iterator[Descriptor]:
        for root in roots:
            if root.digest in seen:
                continue
            seen.add(root.digest)
            if graph.is_manifest(root):
                yield from self._walk(graph.children(root, self.read_json(root)), seen)
            yield root

    def _problem(self, descriptor: Descriptor) -> str:
        try:
            path = self.path(descriptor.digest)
        except InvalidImage as error:
            return str(error)
        if problem := _size_problem(path, descriptor):
            return problem
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        is_right = found == descriptor.digest
        return "" if is_right else f"blob {descriptor.digest} has the digest {found}"

    def _replace(self, name: str, content: bytes) -> None:
        with self._fresh() as (file, path):
            file.write(content)
            file.close()
            path.rename(self.folder / name)

    @contextmanager
    def _fresh(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A file to write, with the mode of a finished one; it goes away unless it is renamed."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".part-", delete=False) as file:
            path = Path(file.name)
            try:
                path.chmod(_MODE)
                yield cast(BinaryIO, file), path
            finally:
                path.unlink(missing_ok=True)


def decode(content: bytes, what: str) -> Any:
    """JSON read from `content`; raises `InvalidImage` that says `what` it was to be."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"{what} is no JSON: {error}") from error


def _size_problem(path: Path, descriptor: Descriptor) -> str:
    size = path.stat().st_size
    if size == descriptor.size_bytes:
        return ""
    return f"blob {descriptor.digest} has {size} bytes, expected {descriptor.size_bytes}"
