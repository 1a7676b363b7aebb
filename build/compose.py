"""The whole way of an image: runtimes, weights, index, documents, all in one OCI layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build import assemble, builder, context, torch_wheel, variant
from build.assemble import Form
from build.attestation import documents
from build.oci import image
from build.oci.descriptor import Descriptor, Platform
from build.oci.layer import Layer
from build.oci.store import Store
from build.plan import BASE_IMAGE, Plan
from build.stages import Stages
from build.variant import Variant
from edge.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Composed:
    """A finished index in its store, the manifests that it joins, and what refers to it."""

    store: Store
    index: Descriptor
    manifests: tuple[Descriptor, ...]
    referrers: tuple[Descriptor, ...]


def compose(
    plan: Plan,
    bundle: Bundle,
    work: Path,
    stages: Stages,
    options: dict[str, Any],
    *,
    is_loud: bool,
) -> Composed:
    """Build the image of `bundle` for every architecture of the plan, in a store below `work`.

    Raises `BuildError` that names the stage.
    """
    kind = variant.of_flavor(bundle.manifest.flavor)
    plan = with_base(plan.for_(kind), stages)
    store = Store(work / "layout")
    form = Form(plan.epoch_s, plan.compression)
    labels = assemble.labels(bundle, str(plan.tag.name), context.revision(), plan.epoch_s)
    with stages.stage("weights", f"{bundle.manifest.name}, {_megabytes(bundle)} MB"):
        model = assemble.weights(bundle, store, form)
    manifests = []
    with builder.sources(plan.network, plan.wheelhouse, kind) as (folder, secrets):
        if kind is variant.PIPELINE:
            with stages.stage("torch", ", ".join(plan.arches)):
                torch_wheel.add(plan.arches, folder / context.WHEELHOUSE, plan.network)
        for arch in plan.arches:
            with stages.stage(f"runtime {arch}", f"Dockerfile.{arch} with {plan.tool.name}"):
                recipe = plan.recipe(arch, kind.runtime, folder, secrets)
                archive = work / f"runtime-{arch}.tar"
                plan.tool.build(recipe, archive, is_loud=is_loud)
            with stages.stage(f"layers {arch}", plan.compression.value):
                manifests.append(_manifest(archive, arch, model, store, form, labels, kind))
                archive.unlink()
    with stages.stage("index"):
        index = image.join(manifests, store, labels)
    with stages.stage("attest", "SBOMs and provenance"):
        referrers = documents.attach(plan, store, index, manifests, options)
    return Composed(store, index, tuple(manifests), referrers)


def with_base(plan: Plan, stages: Stages) -> Plan:
    """The plan with the base image of its wheelhouse, loaded; raises `BuildFailed`."""
    archive = plan.base_archive
    if archive is None:
        return plan
    with stages.stage("base image", archive.name):
        plan.tool.load(archive)
    return replace(plan, base=BASE_IMAGE)


def _manifest(
    archive: Path,
    arch: str,
    model: Layer,
    store: Store,
    form: Form,
    labels: dict[str, str],
    kind: Variant,
) -> Descriptor:
    platform = Platform("linux", arch)
    return assemble.assemble(archive, platform, model, store, form, labels, kind.history)


def _megabytes(bundle: Bundle) -> int:
    return sum(file.size_bytes for file in bundle.manifest.files) // 1_000_000
