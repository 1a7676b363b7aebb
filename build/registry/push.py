"""The order of a push: what is referred to before what refers to it, and the tag last.

A push that breaks off leaves blobs that nothing names; the tag still leads where it led.
"""

from __future__ import annotations

from collections.abc import Sequence

from build.errors import InvalidImage, PublishFailed
from build.oci import graph, media, referrers
from build.oci.descriptor import Descriptor
from build.oci.store import Store
from build.registry.registry import Registry


def push(
    registry: Registry,
    store: Store,
    index: Descriptor,
    artifacts: Sequence[Descriptor],
    tag: str,
) -> str:
    """Push `index`, then the `artifacts` about it, then `tag`; returns NAME@DIGEST.

    Raises `PublishFailed` for a refusal and `InvalidImage` for a store that lacks something.
    """
    for blob in store.reachable([index]):
        _push(registry, store, blob)
    unlisted = [artifact for artifact in artifacts if not _push_artifact(registry, store, artifact)]
    for subject, found in referrers.by_subject(unlisted, store):
        _list(registry, store, subject, found)
    registry.push_manifest(index, store.read(index), tag)
    return f"{registry.target.name}@{index.digest}"


def _push_artifact(registry: Registry, store: Store, artifact: Descriptor) -> bool:
    """Whether the registry lists it."""
    *below, _ = store.reachable([artifact])
    for blob in below:
        _push(registry, store, blob)
    return registry.push_manifest(artifact, store.read(artifact))


def _push(registry: Registry, store: Store, blob: Descriptor) -> None:
    if graph.is_manifest(blob):
        registry.push_manifest(blob, store.read(blob))
    else:
        registry.push_blob(blob, store.path(blob.digest))


def _list(
    registry: Registry, store: Store, subject: Descriptor, found: Sequence[Descriptor]
) -> None:
    """Add to the list of referrers that stands in the repository for want of a better place."""
    tag = referrers.tag_of(subject)
    there = registry.pull_index(tag)
    try:
        old = () if there is None else referrers.listed(there, tag)
    except InvalidImage as error:
        name = registry.target.name
        raise PublishFailed(f"list of referrers in {name}: {error}: delete that tag") from error
    merged = store.put_json(referrers.merged(old, found), media.INDEX)
    registry.push_manifest(merged, store.read(merged), tag)
