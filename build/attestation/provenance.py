"""How an image came about: an in-toto Statement v1 with SLSA Provenance v1, unsigned.

Formats: in-toto attestation framework, statement.md and resource_descriptor.md; SLSA 1.0,
provenance.md. The build type `urn:phial:image-build:v1` means: `Dockerfile.ARCH` was run for each
of `architectures`, its layers were rewritten with the times of `sourceDateEpoch` and compressed
as `compression` says, and the bundle of `model` was laid on top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from build import scrub
from build.attestation import lineage
from build.attestation.debian import DebianPackage
from build.attestation.inventory import Inventory
from build.attestation.subject import Subject
from build.oci.descriptor import Platform

MEDIA_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:phial:image-build:v1"
BUILDER = "urn:phial:builder:v1"
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller asked for; `options` are the flags of the export that were named."""

    model_uri: str
    architectures: tuple[str, ...]
    tag: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the factory worked with.

    `base` is the reference of the image that the builder stage started from, `source` the
    repository that Phial came from; digests and revisions are empty where they are not known.
    """

    container_tool: str
    container_tool_version: str
    compression: str
    base: str = ""
    base_digest: str = ""
    source: str = ""
    source_revision: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """One platform's image: its manifest and what is in it."""

    subject: Subject
    inventory: Inventory


def render(request: Request, recipe: Recipe, index: Subject, images: Sequence[Built]) -> bytes:
    """The statement about `index` and the `images` in it; no time in it but that of the sources."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": list(_subjects(index, images)),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _asked(request),
                "internalParameters": _circumstances(recipe, index),
                "resolvedDependencies": _dependencies(recipe, images),
            },
            "runDetails": _run(recipe, index),
        },
    }
    return json.dumps(statement, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _subjects(index: Subject, images: Sequence[Built]) -> Iterator[Resource]:
    yield _subject(index, None)
    for image in images:
        yield _subject(image.subject, image.inventory.platform)


def _subject(subject: Subject, platform: Platform | None) -> Resource:
    return {"name": subject.purl(platform), "digest": _digest(subject.digest)}


def _asked(request: Request) -> Resource:
    return {
        "model": scrub.text(request.model_uri),
        "architectures": list(request.architectures),
        "tag": scrub.text(request.tag),
        "options": _published(request.options),
    }


def _circumstances(recipe: Recipe, index: Subject) -> Resource:
    return {
        "sourceDateEpoch": index.epoch_s,
        "compression": recipe.compression,
        "containerTool": {"name": recipe.container_tool, "version": recipe.container_tool_version},
    }


def _run(recipe: Recipe, index: Subject) -> Resource:
    versions = {"phial": index.phial, recipe.container_tool: recipe.container_tool_version}
    return {
        "builder": {"id": BUILDER, "version": versions},
        "metadata": {"invocationId": index.uuid("build").urn},
    }


def _dependencies(recipe: Recipe, images: Sequence[Built]) -> list[Resource]:
    """Each once, sorted by kind and URI; platforms share most of them."""
    found = [*_materials(recipe), *_models(images), *_packages(images)]
    return list({json.dumps(one, sort_keys=True): one for one in found}.values())


def _materials(recipe: Recipe) -> Iterator[Resource]:
    if recipe.source or recipe.source_revision:
        digest = {"gitCommit": recipe.source_revision} if recipe.source_revision else {}
        yield _resource("phial", _repository(recipe.source), digest)
    if recipe.base:
        uri = scrub.credentials(f"docker://{recipe.base}")
        yield _resource("base image", uri, _digest(recipe.base_digest))


def _models(images: Sequence[Built]) -> Iterator[Resource]:
    """The digest is the bundle's: that of its manifest, which lists every file with its own."""
    for image in images:
        manifest = image.inventory.model
        if manifest is not None:
            digest = _digest(f"sha256:{image.inventory.bundle_sha256}")
            found = _resource(manifest.name, lineage.origin(manifest), digest)
            yield found | {"annotations": lineage.facts(manifest)}


def _packages(images: Sequence[Built]) -> Iterator[Resource]:
    found = {one.purl: one for image in images for one in image.inventory.packages}
    for purl, package in sorted(found.items()):
        sha256 = package.sha256 if isinstance(package, DebianPackage) else ""
        yield _resource(package.name, purl, _digest(f"sha256:{sha256}") if sha256 else {})


def _resource(name: str, uri: str, digest: Mapping[str, str]) -> Resource:
    """A ResourceDescriptor; empty fields are left out."""
    fields = {"name": name, "uri": uri, "digest": dict(digest)}
    return {key: value for key, value in fields.items() if value}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value} if value else {}


def _repository(uri: str) -> str:
    """An SPDX-style locator of a repository, `git+https://...`."""
    uri = scrub.text(uri)
    return f"git+{uri}" if uri and not uri.startswith("git+") else uri


def _published(value: Any) -> Any:
    """`value` with every text in it scrubbed."""
    if isinstance(value, str):
        return scrub.text(value)
    if isinstance(value, Mapping):
        return {str(key): _published(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_published(one) for one in value]
    return value
