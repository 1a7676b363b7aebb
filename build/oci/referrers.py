"""Lists of the artifacts that are about an image, where nobody can be asked for them.

Source: OCI distribution-spec 1.1, "Referrers Tag Schema": an index under a tag made of the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor
from build.oci.store import Store


def tag_of(subject: Descriptor) -> str:
    """`sha256-HEX`, the name of the list of what is about `subject`."""
    return subject.digest.replace(":", "-", 1)


def listed(index: Any, name: str) -> tuple[Descriptor, ...]:
    """The artifacts in the list `index`; raises `InvalidImage` that names it."""
    manifests = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(manifests, list):
        raise InvalidImage(f"{name} has no list of manifests, expected an image index")
    return tuple(map(Descriptor.from_json, manifests))


def merged(old: Sequence[Descriptor], new: Sequence[Descriptor]) -> dict[str, Any]:
    """The list of `old` and then `new` artifacts, each once, as the JSON of an image index."""
    found = {artifact.digest: artifact for artifact in (*old, *new)}
    manifests = [replace(artifact, platform=None).as_json() for artifact in found.values()]
    return {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": manifests}


def by_subject(
    artifacts: Iterable[Descriptor], store: Store
) -> list[tuple[Descriptor, list[Descriptor]]]:
    """The artifacts of each subject, in the order in which they come.

    Raises `InvalidImage` for one that has no subject.
    """
    found: dict[str, tuple[Descriptor, list[Descriptor]]] = {}
    for artifact in artifacts:
        subject = graph.subject(store.read_json(artifact))
        if subject is None:
            raise InvalidImage(f"{artifact.digest} is about nothing, expected a subject")
        found.setdefault(subject.digest, (subject, []))[1].append(artifact)
    return list(found.values())
