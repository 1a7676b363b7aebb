"""Debian's side of an image: control stanzas and copyright files.

Sources: Debian Policy 5 (control files), the copyright format 1.0 ("DEP-5"), and the layout of
distroless images, which keep one stanza a package in `var/lib/dpkg/status.d/` and whose package
managers' other files there are no stanzas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import Parser
from email.utils import parseaddr

from packageurl import PackageURL

from build import scrub
from build.attestation import licence
from build.attestation.licence import Licence
from build.errors import InvalidImage

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"(\d+:)?[0-9A-Za-z.+~-]+")
_ARCHITECTURE = re.compile(r"[a-z0-9-]+")
_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?")
_FORMAT = re.compile(r"(?i)format\S*:\s*\S*/copyright-format/")
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
_SHA256 = re.compile(r"([0-9a-f]{64})?")
_FIELDS = {
    "Package": _NAME,
    "Version": _VERSION,
    "Architecture": _ARCHITECTURE,
    "SHA256": _SHA256,
}


@dataclass(frozen=True, slots=True, order=True)
class DebianPackage:
    """An installed package; `licences` are declared, `mentioned` are only spoken of.

    `sha256` is that of the .deb, where the stanza says it as those of an archive's index do.
    A copyright file (`copyright_path`, in the image) in free text declares nothing that a program
    can read; `mentioned` are then the texts of `/usr/share/common-licenses` that it refers to.
    """

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    distribution: str
    homepage: str = ""
    maintainer: str = ""
    sha256: str = ""
    copyright_path: str = ""
    licences: tuple[Licence, ...] = ()
    mentioned: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """`pkg:deb/...`; `upstream` names another source, by which Debian files its advisories."""
        qualifiers = {"arch": self.architecture, "distro": self.distribution}
        if self.source_version != self.version:
            qualifiers["upstream"] = f"{self.source}@{self.source_version}"
        elif self.source != self.name:
            qualifiers["upstream"] = self.source
        return PackageURL("deb", "debian", self.name, self.version, qualifiers).to_string()


def package(raw: bytes, where: str, distribution: str) -> DebianPackage:
    """The package of the control stanza `raw`; `where` names it in errors.

    Raises `InvalidImage` for what is not one stanza, and for fields that are missing or odd.
    """
    fields = _stanza(raw, where)
    values = {name: (fields[name] or "").strip() for name in _FIELDS}
    problems = [
        f"{where}: {name} is {values[name][:80]!r}, expected {pattern.pattern}"
        for name, pattern in _FIELDS.items()
        if not pattern.fullmatch(values[name])
    ]
    if problems:
        raise InvalidImage(problems)
    source = _SOURCE.fullmatch((fields["Source"] or "").strip())
    return DebianPackage(
        name=values["Package"],
        version=values["Version"],
        architecture=values["Architecture"],
        source=source[1] if source else values["Package"],
        source_version=(source[2] if source else "") or values["Version"],
        distribution=distribution,
        homepage=scrub.credentials((fields["Homepage"] or "").strip()),
        maintainer=parseaddr(fields["Maintainer"] or "")[0],
        sha256=values["SHA256"],
    )


def with_copyright(found: DebianPackage, raw: bytes, path: str) -> DebianPackage:
    """`found` with what its copyright file `raw`, at `path` in the image, says."""
    text = raw.decode(errors="replace").lstrip("\ufeff\n")
    if not _FORMAT.match(text):
        mentioned = tuple(sorted(set(_COMMON.findall(text))))
        return replace(found, copyright_path=path, mentioned=mentioned)
    return replace(found, copyright_path=path, licences=tuple(sorted(_declared(text))))


def _declared(text: str) -> Iterator[Licence]:
    """The distinct licences of a machine-readable copyright file, with their stand-alone texts."""
    said: dict[str, str] = {}
    for paragraph in _BLANK.split(text):
        field = Parser().parsestr(paragraph.lstrip("\n") + "\n\n")["License"]
        if not field:
            continue
        name, _, body = field.partition("\n")
        name = " ".join(name.split())
        said[name] = said.get(name) or body
    return (licence.of_debian(name, _plain(body)) for name, body in said.items() if name)


def _plain(body: str) -> str:
    """A folded field as text: a line of one dot stands for an empty one."""
    lines = [line.removeprefix(" ").rstrip() for line in body.splitlines()]
    return "\n".join("" if line == "." else line for line in lines).strip("\n")


def _stanza(raw: bytes, where: str) -> Message:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidImage(f"{where} is not UTF-8: {error}") from error
    found = Parser().parsestr(text.strip("\n") + "\n\n")
    if found.defects or not found.keys() or str(found.get_payload()).strip():
        raise InvalidImage(f"{where} is not one Debian control stanza: {text[:80]!r}")
    return found
