"""Images of one platform, and the index that joins them (OCI image-spec 1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor, Platform, checked_digest
from build.oci.layer import Layer
from build.oci.store import Store

_DERIVED = ("rootfs", "history")  # of a config: what the layers say


@dataclass(frozen=True, slots=True)
class Image:
    """What runs on one platform.

    `config` is the JSON of the image config without `rootfs` and `history`, its `config` object
    included (Entrypoint, Env, Healthcheck, Labels ...); `history` says how each layer came about.
    """

    platform: Platform
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    history: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def write(image: Image, store: Store, *, epoch_s: int) -> Descriptor:
    """Put config and manifest into the store; returns the manifest's descriptor with platform.

    `created` is `epoch_s` (seconds since 1970). Raises `InvalidImage` for a layer that the store
    lacks, or a history of another length.
    """
    if image.history and len(image.history) != len(image.layers):
        found, expected = len(image.history), len(image.layers)
        raise InvalidImage(
            f"history has {found} entries, expected one for each of {expected} layers"
        )
    for layer in image.layers:
        store.path(layer.descriptor.digest)
    config = store.put_json(_config(image, timestamp(epoch_s)), media.CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.as_json(),
        "layers": [layer.descriptor.as_json() for layer in image.layers],
    }
    if image.annotations:
        manifest["annotations"] = dict(image.annotations)
    return store.put_json(manifest, media.MANIFEST, platform=image.platform)


def read(store: Store, manifest: Descriptor) -> Image:
    """The image that `manifest` describes; raises `InvalidImage`."""
    value = store.read_json(manifest)
    if manifest.media_type not in media.MANIFESTS:
        raise InvalidImage(f"{manifest.digest} is {manifest.media_type}, expected a manifest")
    config_blob, *layers = graph.children(manifest, value)
    config = store.read_json(config_blob)
    if not isinstance(config, dict):
        raise InvalidImage(f"config {config_blob.digest} is {config!r}, expected an object")
    return Image(
        platform=platform_of(config),
        config={key: part for key, part in config.items() if key not in _DERIVED},
        layers=tuple(map(Layer, layers, diff_ids(config, len(layers)))),
        history=_history(config, len(layers)),
        annotations=value.get("annotations") or {},
    )


def join(
    manifests: Sequence[Descriptor],
    store: Store,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """An index of `manifests` in the order given; raises `InvalidImage` for a platform twice."""
    seen: set[Platform] = set()
    for manifest in manifests:
        if manifest.platform is None or manifest.platform in seen:
            fault = f"{manifest.platform} twice" if manifest.platform else "no platform"
            raise InvalidImage(f"manifest {manifest.digest} has {fault}, expected one of its own")
        seen.add(manifest.platform)
    index: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [manifest.as_json() for manifest in manifests],
    }
    if annotations:
        index["annotations"] = dict(annotations)
    return store.put_json(index, media.INDEX)


def platform_of(config: Mapping[str, Any]) -> Platform:
    """The platform that an image config names; raises `InvalidImage`."""
    parts = [config.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts) or not all(parts[:2]):
        raise InvalidImage(f"os and architecture of the config are {parts[:2]!r}, expected text")
    return Platform(*parts)


def diff_ids(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """The digests of the `count` plain layers that a config lists; raises `InvalidImage`."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or len(found) != count:
        raise InvalidImage(f"rootfs.diff_ids of the config is {found!r}, expected {count} digests")
    return tuple(map(checked_digest, found))


def _config(image: Image, created: str) -> dict[str, Any]:
    config = {key: part for key, part in image.config.items() if key not in _DERIVED}
    config |= image.platform.as_json() | {"created": created}
    config["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in image.layers]}
    if image.history:
        config["history"] = [{"created": created, "created_by": text} for text in image.history]
    return config


def _history(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """How each layer came about; nothing where the config does not say so for every layer."""
    found = config.get("history")
    entries = (
        [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    )
    texts = [str(e.get("created_by", "")) for e in entries if not e.get("empty_layer")]
    return tuple(texts) if len(texts) == count else ()


def timestamp(epoch_s: int) -> str:
    """Seconds since 1970 as `created` wants them (RFC 3339, in UTC)."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
