"""What is in an image, read from its layers alone.

Debian packages by `var/lib/dpkg/status.d/`, Python wheels by their `.dist-info` outside `usr/`
(there they belong to Debian's packages), the appliance by `app/edge/`, the model by the manifest
of its bundle at `model/`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from build.attestation import debian
from build.attestation.debian import DebianPackage
from build.attestation.filesystem import FileSystem, merged
from build.attestation.wheel import Wheel, wheel
from build.errors import InvalidImage
from build.oci.descriptor import Platform
from build.oci.image import Image
from build.oci.store import Store
from edge.bundle import MANIFEST_NAME, Manifest, parse
from edge.errors import StartupError

APPLIANCE = "app/edge/"
BUNDLE = "model/"
_STATUS = re.compile(r"var/lib/dpkg/status\.d/(?!.*\.(?:md5sums|list|conffiles)$)[^/]+")
_COPYRIGHT = "usr/share/doc/{}/copyright"
_METADATA = re.compile(r"(?!usr/)(?:.+/)?[^/]+\.dist-info/METADATA")
_RELEASES = ("etc/os-release", "usr/lib/os-release")
_DISTRIBUTION = "debian-12"  # bookworm, where the appliance's Dockerfiles start
_WANTED = re.compile(
    "|".join(
        [
            _STATUS.pattern,
            _METADATA.pattern,
            _COPYRIGHT.format("[^/]+").replace(".", r"\."),
            re.escape(BUNDLE + MANIFEST_NAME),
            *map(re.escape, _RELEASES),
        ]
    )
)
Package: TypeAlias = DebianPackage | Wheel
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inventory:
    """One platform's image: packages sorted by name, the model, and all its files counted.

    `bundle_sha256` is the digest of the model's manifest, empty without a model;
    `has_appliance` says whether Phial itself is in there.
    """

    platform: Platform
    debian: tuple[DebianPackage, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    model: Manifest | None = None
    bundle_sha256: str = ""
    has_appliance: bool = False
    files: int = 0
    size_bytes: int = 0

    @property
    def packages(self) -> tuple[Package, ...]:
        """The Debian packages, then the wheels."""
        return (*self.debian, *self.wheels)


def take(image: Image, store: Store) -> Inventory:
    """The inventory of `image`, whose layers are in `store`.

    Raises `InvalidImage` with everything that cannot be read or contradicts itself.
    """
    tree = merged(image, store, _WANTED)
    problems: list[str] = []
    files = list(tree.files())
    model, digest = _model(tree, problems)
    found = Inventory(
        platform=image.platform,
        debian=_debian(tree, problems),
        wheels=_wheels(tree, problems),
        model=model,
        bundle_sha256=digest,
        has_appliance=any(path.startswith(APPLIANCE) for path, _ in files),
        files=len(files),
        size_bytes=sum(node.size_bytes for _, node in files),
    )
    if problems:
        raise InvalidImage(problems)
    return found


def _each(
    tree: FileSystem,
    pattern: re.Pattern[str],
    parse_one: Callable[[bytes, str], T],
    problems: list[str],
) -> Iterator[T]:
    """What `parse_one` makes of every file whose path matches; its problems are collected."""
    for path, node in tree.files():
        if node.content is None or not pattern.fullmatch(path):
            continue
        try:
            yield parse_one(node.content, path)
        except InvalidImage as error:
            problems += error.problems


def _debian(tree: FileSystem, problems: list[str]) -> tuple[DebianPackage, ...]:
    distribution = _distribution(tree)

    def package(raw: bytes, where: str) -> DebianPackage:
        found = debian.package(raw, where, distribution)
        path = _COPYRIGHT.format(found.name)
        raw_copyright = tree.read(path)
        if raw_copyright is None:
            return found
        return debian.with_copyright(found, raw_copyright, path)

    found = sorted(_each(tree, _STATUS, package, problems))
    counts = Counter(f"{one.name}:{one.architecture}" for one in found)
    twice = [f"{name} has {n} control stanzas, expected one" for name, n in counts.items() if n > 1]
    problems += twice
    return tuple(found)


def _wheels(tree: FileSystem, problems: list[str]) -> tuple[Wheel, ...]:
    """A wheel that another one brings a copy of counts once."""
    by_purl = {found.purl: found for found in _each(tree, _METADATA, wheel, problems)}
    return tuple(sorted(by_purl.values()))


def _distribution(tree: FileSystem) -> str:
    """`debian-12`, from os-release(5) where the image has one."""
    raw = next(filter(None, map(tree.read, _RELEASES)), b"").decode(errors="replace")
    pairs = (line.partition("=") for line in raw.splitlines())
    facts = {key: value.strip("\"'") for key, _, value in pairs}
    if facts.get("ID") and facts.get("VERSION_ID"):
        return f"{facts['ID']}-{facts['VERSION_ID']}"
    return _DISTRIBUTION


def _model(tree: FileSystem, problems: list[str]) -> tuple[Manifest | None, str]:
    """The bundle's manifest with its digest; the files that it lists must be there."""
    raw = tree.read(BUNDLE + MANIFEST_NAME)
    if raw is None:
        return None, ""
    try:
        manifest = parse(raw)
    except StartupError as error:
        problems += error.problems
        return None, ""
    for file in manifest.files:
        node = tree.nodes.get(BUNDLE + file.path)
        found = f"has {node.size_bytes} bytes" if node and node.is_file else "is missing"
        if found != f"has {file.size_bytes} bytes":
            problems.append(f"{BUNDLE}{file.path} {found}, expected {file.size_bytes} bytes")
    return manifest, hashlib.sha256(raw).hexdigest()
