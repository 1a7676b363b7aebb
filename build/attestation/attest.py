"""Documents that are attached to an image: manifests with a subject, and how they are found.

Sources: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage"; distribution-spec 1.1,
"Referrers Tag Schema", for stores and registries that cannot be asked for referrers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from build.oci import media
from build.oci import referrers as lists
from build.oci.descriptor import Descriptor
from build.oci.store import Store

_EMPTY: dict[str, Any] = {}


def attach(
    store: Store,
    subject: Descriptor,
    content: bytes,
    *,
    artifact_type: str,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Put `content` into the store as an artifact about the manifest or index `subject`.

    `artifact_type` is also the media type of the content. The result is what a list of referrers
    wants: the artifact's type and annotations are in it. Nobody finds it before `list_referrers`.
    """
    notes = dict(annotations or {})
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": artifact_type,
        "config": store.put_json(_EMPTY, media.EMPTY_JSON).as_json(),
        "layers": [store.put(content, artifact_type).as_json()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size_bytes).as_json(),
    }
    if notes:
        manifest["annotations"] = notes
    return store.put_json(manifest, media.MANIFEST, annotations=notes, artifact_type=artifact_type)


def referrers(subject: Descriptor, store: Store) -> tuple[Descriptor, ...]:
    """The artifacts that were listed for `subject`; raises `InvalidImage` for a broken list."""
    tag = lists.tag_of(subject)
    found = [one for one in store.list() if one.annotations.get(media.REF_NAME) == tag]
    return lists.listed(store.read_json(found[0]), tag) if found else ()


def list_referrers(found: Sequence[Descriptor], subject: Descriptor, store: Store) -> None:
    """Name the artifacts `found` as referrers of `subject`, after those that were listed before."""
    index = lists.merged(referrers(subject, store), found)
    store.name(store.put_json(index, media.INDEX), lists.tag_of(subject))
