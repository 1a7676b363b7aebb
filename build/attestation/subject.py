"""What the documents about an image are about: its names, its digest, and the time it carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from packageurl import PackageURL

from build import scrub
from build.oci.descriptor import Platform


@dataclass(frozen=True, slots=True)
class Subject:
    """An image by `name` and `tag`, its manifest's `digest`, and the Phial that built it.

    `epoch_s` is the time of the sources, as in SOURCE_DATE_EPOCH: nothing says when it was built.
    """

    name: str
    tag: str
    digest: str
    epoch_s: int
    phial: str

    @property
    def created(self) -> datetime:
        """`epoch_s` in UTC."""
        return datetime.fromtimestamp(self.epoch_s, UTC)

    @property
    def public_name(self) -> str:
        """The name without what a published document must not say."""
        return scrub.text(self.name)

    def uuid(self, kind: str) -> UUID:
        """An identifier for a document of this `kind` about this subject, always the same one."""
        return uuid5(NAMESPACE_URL, f"urn:phial:{kind}:{self.digest}")

    def purl(self, platform: Platform | None = None) -> str:
        """`pkg:oci/...` (purl-spec, type oci); `repository_url` where the name has a host."""
        *above, name = self.public_name.split("/")
        qualifiers = {"tag": self.tag, "arch": platform.architecture if platform else ""}
        if above and any(mark in above[0] for mark in ".:"):
            qualifiers["repository_url"] = self.public_name
        return PackageURL("oci", None, name.lower(), self.digest, qualifiers).to_string()
