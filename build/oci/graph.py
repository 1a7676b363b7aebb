"""Which blobs a manifest or an index holds together (OCI image-spec 1.1, manifest and index)."""

from __future__ import annotations

from typing import Any

from build.errors import InvalidImage
from build.oci import media
from build.oci.descriptor import Descriptor


def is_manifest(descriptor: Descriptor) -> bool:
    """Whether the blob is a manifest or an index: JSON that refers to others."""
    return descriptor.media_type in media.INDEXES + media.MANIFESTS


def children(descriptor: Descriptor, value: Any) -> tuple[Descriptor, ...]:
    """What the manifest or index `value`, the content of `descriptor`, refers to, in its order.

    A subject is no child: it is what an artifact is about. Raises `InvalidImage`.
    """
    if not isinstance(value, dict):
        raise InvalidImage(f"{descriptor.digest} is {type(value).__name__}, expected an object")
    if descriptor.media_type in media.INDEXES:
        return _descriptors(descriptor, value, "manifests")
    config = Descriptor.from_json(value.get("config"))
    return (config, *_descriptors(descriptor, value, "layers"))


def subject(value: Any) -> Descriptor | None:
    """What the manifest `value` is about, where it is about another one."""
    found = value.get("subject") if isinstance(value, dict) else None
    return Descriptor.from_json(found) if found else None


def _descriptors(descriptor: Descriptor, value: Any, key: str) -> tuple[Descriptor, ...]:
    found = value.get(key)
    if not isinstance(found, list):
        raise InvalidImage(f"{key} of {descriptor.digest} is {found!r}, expected a list")
    return tuple(map(Descriptor.from_json, found))
