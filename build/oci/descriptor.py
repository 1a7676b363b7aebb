"""Descriptors: what a blob is, its digest and its size (OCI image-spec 1.1, "Content Descriptors").

The platform stands in an image index and says where a manifest runs ("Image Index").
"""

from __future__ import annotations

import platform as python_platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from build.errors import InvalidImage

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # what uname says: what GOARCH says
_PART = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture by Go's names, e.g. linux and arm64."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `OS/ARCHITECTURE[/VARIANT]`; raises `InvalidImage`."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(map(_PART.fullmatch, parts)):
            raise InvalidImage(f"platform is {text!r}, expected OS/ARCHITECTURE as in linux/arm64")
        return cls(*parts)

    @classmethod
    def of_machine(cls) -> Platform:
        """The platform of containers on this machine: Linux, on whatever system it runs."""
        machine = python_platform.machine().lower()
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    def fits(self, other: Platform) -> bool:
        """Whether the two are the same; an unnamed variant fits every variant."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (self.variant == other.variant or not (self.variant and other.variant))

    def as_json(self) -> dict[str, str]:
        """The platform object of an image index."""
        variant = {"variant": self.variant} if self.variant else {}
        return {"architecture": self.architecture, "os": self.os} | variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by its `digest` (`sha256:` and 64 hexadecimal digits)."""

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""

    def as_json(self) -> dict[str, Any]:
        """The descriptor with the specification's keys; empty ones are left out."""
        optional = {
            "annotations": dict(self.annotations),
            "platform": self.platform.as_json() if self.platform else {},
            "artifactType": self.artifact_type,
        }
        required = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        return required | {key: value for key, value in optional.items() if value}

    @classmethod
    def from_json(cls, data: Any) -> Descriptor:
        """Read a descriptor; raises `InvalidImage` that names the field."""
        if not isinstance(data, dict):
            raise InvalidImage(f"descriptor is {data!r}, expected a JSON object")
        return cls(
            media_type=_text(data, "mediaType"),
            digest=checked_digest(data.get("digest")),
            size_bytes=_size(data.get("size")),
            annotations=_annotations(data.get("annotations") or {}),
            platform=_platform(data["platform"]) if data.get("platform") else None,
            artifact_type=_text(data, "artifactType") if data.get("artifactType") else "",
        )


def checked_digest(value: Any) -> str:
    """`value` as a digest; raises `InvalidImage` where it is none."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise InvalidImage(f"digest is {value!r}, expected sha256: and 64 hexadecimal digits")
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidImage(f"size is {value!r}, expected a number of bytes")
    return value


def _annotations(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidImage(f"annotations are {value!r}, expected an object of strings")
    return value


def _platform(value: Any) -> Platform:
    if not isinstance(value, dict):
        raise InvalidImage(f"platform is {value!r}, expected a JSON object")
    variant = _text(value, "variant") if value.get("variant") else ""
    return Platform(_text(value, "os"), _text(value, "architecture"), variant)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidImage(f"{key} is {value!r}, expected text")
    return value
