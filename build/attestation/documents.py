"""SBOMs and provenance of a finished index, attached to it as OCI referrers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from build import context
from build.attestation import attest, inventory, provenance, sbom_cyclonedx, sbom_spdx
from build.attestation.provenance import Built
from build.attestation.subject import Subject
from build.oci import image
from build.oci.descriptor import Descriptor
from build.oci.store import Store
from build.plan import Plan
from edge import __version__

_PLATFORM = "phial.platform"


def attach(
    plan: Plan,
    store: Store,
    index: Descriptor,
    manifests: Sequence[Descriptor],
    options: dict[str, Any],
) -> tuple[Descriptor, ...]:
    """Two SBOMs for each of `manifests` and one provenance statement, all about `index`.

    They are made from the layers in the store, not from what was meant to go in.
    """
    built = [_built(plan, store, manifest) for manifest in manifests]
    found = [*_sboms(store, index, built), _provenance(plan, store, index, built, options)]
    attest.list_referrers(found, index, store)
    return tuple(found)


def _built(plan: Plan, store: Store, manifest: Descriptor) -> Built:
    contents = inventory.take(image.read(store, manifest), store)
    return Built(_subject(plan, manifest), contents)


def _sboms(store: Store, index: Descriptor, built: Sequence[Built]) -> Iterator[Descriptor]:
    for one in built:
        notes = {_PLATFORM: str(one.inventory.platform)}
        for form in (sbom_cyclonedx, sbom_spdx):
            content = form.render(one.inventory, one.subject)
            yield attest.attach(
                store, index, content, artifact_type=form.MEDIA_TYPE, annotations=notes
            )


def _provenance(
    plan: Plan,
    store: Store,
    index: Descriptor,
    built: Sequence[Built],
    options: dict[str, Any],
) -> Descriptor:
    request = provenance.Request(plan.uri, plan.arches, str(plan.tag), options)
    recipe = provenance.Recipe(
        container_tool=plan.tool.name,
        container_tool_version=plan.tool.version,
        compression=plan.compression.value,
        base=plan.base or context.base_reference(),
        source_revision=context.revision(),
    )
    content = provenance.render(request, recipe, _subject(plan, index), built)
    return attest.attach(store, index, content, artifact_type=provenance.MEDIA_TYPE)


def _subject(plan: Plan, descriptor: Descriptor) -> Subject:
    return Subject(plan.tag.name, plan.tag.tag, descriptor.digest, plan.epoch_s, __version__)
