"""From a runtime image and a bundle to an image with a model in it.

The layers of the runtime are written again in one form, whichever tool built them; the weights
become the last layer, straight from the bundle and the same for every architecture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import InvalidImage
from build.oci import docker_archive, image, layer
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor, Platform
from build.oci.image import Image
from build.oci.layer import Layer
from build.oci.store import Store
from build.variant import SLIM
from edge import __version__
from edge.bundle import Bundle

MODEL_FOLDER = "model"
# Weights hardly compress: the fastest level gains what there is to gain.
_WEIGHTS_LEVEL = {Compression.GZIP: 1, Compression.ZSTD: 1}
_RUNTIME_LEVEL = {Compression.GZIP: 9, Compression.ZSTD: 19}
# Torch: higher levels gain 4 % and take several times as long.
_LARGE_BYTES = 128_000_000
_LARGE_LEVEL = {Compression.GZIP: 4, Compression.ZSTD: 9}
_KEPT_CONFIG = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "WorkingDir", "StopSignal"),
    "Healthcheck",
)


@dataclass(frozen=True, slots=True)
class Form:
    """How layers are written: the time of every file and the compression."""

    epoch_s: int
    compression: Compression = Compression.GZIP


def weights(bundle: Bundle, store: Store, form: Form) -> Layer:
    """The bundle as a layer below `/model`."""
    return layer.of_folder(
        bundle.folder,
        MODEL_FOLDER,
        store,
        epoch_s=form.epoch_s,
        compression=form.compression,
        level=_WEIGHTS_LEVEL.get(form.compression),
    )


def assemble(
    runtime: Path,
    platform: Platform,
    model: Layer,
    store: Store,
    form: Form,
    labels: Mapping[str, str],
    history: Sequence[str] = SLIM.history,
) -> Descriptor:
    """The image of one platform: the layers of the docker-archive `runtime`, then `model`.

    `history` says what is in the layers of the runtime. Raises `InvalidImage` where the archive
    is for another platform.
    """
    archive = docker_archive.read(runtime)
    found = archive.config.get("architecture")
    if found != platform.architecture:
        raise InvalidImage(f"the runtime was built for {found}, expected {platform.architecture}")
    with ThreadPoolExecutor() as pool:  # the compressors release the interpreter
        numbers = range(len(archive.layers))
        written = pool.map(lambda number: _rewritten(archive, number, store, form), numbers)
        below = [found for found in written if not _is_empty(store, found)]
    config = {key: archive.config["config"].get(key) for key in _KEPT_CONFIG}
    whole = Image(
        platform=platform,
        config={"config": {**_present(config), "Labels": dict(sorted(labels.items()))}},
        layers=(*below, model),
        history=(*history, "model") if len(below) == len(history) else (),
        annotations=labels,
    )
    return image.write(whole, store, epoch_s=form.epoch_s)


def labels(bundle: Bundle, title: str, revision: str, epoch_s: int) -> dict[str, str]:
    """OCI annotations and the MLflow lineage: labels of images, annotations of manifests."""
    manifest, lineage = bundle.manifest, bundle.manifest.lineage
    found = {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.description": f"{manifest.name} served by Phial on CPUs",
        "org.opencontainers.image.version": lineage.model_version or __version__,
        "org.opencontainers.image.created": image.timestamp(epoch_s),
        "org.opencontainers.image.revision": revision,
        "phial.version": __version__,
        "phial.bundle.sha256": bundle.sha256,
        "phial.model.name": manifest.name,
        "phial.model.flavor": manifest.flavor,
        "phial.model.registered_name": lineage.model_name,
        "phial.model.version": lineage.model_version,
        "phial.model.alias": lineage.alias,
        "phial.model.id": lineage.model_id,
        "phial.model.run_id": lineage.run_id,
        "phial.model.experiment": lineage.experiment_name,
        "phial.model.source_uri": lineage.source_uri,
        "phial.model.quantization": manifest.quantization,
    }
    return {key: value for key, value in found.items() if value}


def _rewritten(archive: docker_archive.Archive, number: int, store: Store, form: Form) -> Layer:
    is_large = archive.layers[number].size_bytes > _LARGE_BYTES
    levels = _LARGE_LEVEL if is_large else _RUNTIME_LEVEL
    with archive.open_layer(number) as source:
        return layer.normalise(
            source,
            store,
            epoch_s=form.epoch_s,
            compression=form.compression,
            level=levels.get(form.compression),
            diff_id=archive.diff_ids[number],
        )


def _is_empty(store: Store, found: Layer) -> bool:
    """Docker makes a layer of WORKDIR, with nothing in it."""
    return next(layer.entries(store, found.descriptor), None) is None


def _present(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value}
