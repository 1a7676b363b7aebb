"""The contents of an image as CycloneDX 1.6 JSON, the same bytes for the same image.

Format: CycloneDX specification 1.6; `phial:` is our namespace of properties.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.exception import CycloneDxException
from cyclonedx.model import (
    AttachedText,
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseAcknowledgement
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from build.attestation import licence, lineage
from build.attestation.debian import DebianPackage
from build.attestation.inventory import Inventory, Package
from build.attestation.licence import Licence
from build.attestation.subject import Subject
from build.errors import InvalidImage
from edge.bundle import Manifest

MEDIA_TYPE = "application/vnd.cyclonedx+json"
_DECLARED = LicenseAcknowledgement.DECLARED
_URL = re.compile(r"https?://[^\s#]+(#[^\s#]*)?")


def render(inventory: Inventory, subject: Subject) -> bytes:
    """The document about the image `subject` that holds `inventory`.

    Raises `InvalidImage` for what the format cannot say.
    """
    image = _image(inventory, subject)
    parts = [*map(_package, inventory.packages), *_own(inventory, subject)]
    bom = Bom(
        serial_number=subject.uuid("cyclonedx"),
        metadata=BomMetaData(
            timestamp=subject.created,
            component=image,
            tools=ToolRepository(components=[_phial(subject, "tool")]),
        ),
        components=parts,
    )
    bom.register_dependency(image, parts)
    for part in parts:
        bom.register_dependency(part)
    try:
        return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"
    except CycloneDxException as error:
        raise InvalidImage(f"the CycloneDX document cannot be written: {error}") from error


def _image(inventory: Inventory, subject: Subject) -> Component:
    facts = {
        "phial:platform": str(inventory.platform),
        "phial:files": str(inventory.files),
        "phial:size_bytes": str(inventory.size_bytes),
    }
    return Component(
        type=ComponentType.CONTAINER,
        bom_ref="image",
        name=subject.public_name,
        version=subject.tag or subject.digest,
        purl=_purl(subject.purl(inventory.platform)),
        hashes=[_sha256(subject.digest.removeprefix("sha256:"))],
        properties=_properties(facts),
    )


def _own(inventory: Inventory, subject: Subject) -> Iterator[Component]:
    if inventory.has_appliance:
        yield _phial(subject, "phial")
    if inventory.model is not None:
        yield _model(inventory.model, inventory.bundle_sha256)


def _phial(subject: Subject, ref: str) -> Component:
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=ref,
        name="phial",
        version=subject.phial,
        licenses=_licences([Licence("Apache-2.0", "Apache-2.0")]),
    )


def _model(manifest: Manifest, bundle_sha256: str) -> Component:
    """The model; its hash is the bundle's, the files' own stand below it."""
    files = [
        Component(
            type=ComponentType.FILE,
            bom_ref=f"model/{file.path}",
            name=file.path,
            hashes=[_sha256(file.sha256)],
        )
        for file in manifest.files
    ]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        name=manifest.name,
        version=manifest.lineage.model_version or bundle_sha256,
        hashes=[_sha256(bundle_sha256)],
        properties=_properties(lineage.facts(manifest)),
        components=files,
    )


def _package(found: Package) -> Component:
    component = Component(
        type=ComponentType.LIBRARY,
        bom_ref=found.purl,
        name=found.name,
        version=found.version,
        purl=_purl(found.purl),
        licenses=_licences(found.licences),
        external_references=_website(found.homepage),
    )
    if isinstance(found, DebianPackage):
        _add_debian(component, found)
    return component


def _add_debian(component: Component, found: DebianPackage) -> None:
    component.supplier = OrganizationalEntity(name="Debian")
    component.publisher = found.maintainer or None
    facts = {
        "phial:debian:source": found.source,
        "phial:debian:source-version": found.source_version,
        "phial:debian:copyright-file": found.copyright_path,
    }
    component.properties = _properties(facts)
    if found.sha256:
        component.hashes = [_sha256(found.sha256)]
    if found.mentioned:
        licences = [DisjunctiveLicense(name=name) for name in found.mentioned]
        component.evidence = ComponentEvidence(licenses=licences)


def _licences(declared: Iterable[Licence]) -> list[License]:
    """One expression where each declaration has one; else a list, which may hold no expression."""
    found = list(declared)
    whole = licence.together(found)
    if whole:
        return [LicenseFactory().make_from_string(whole, license_acknowledgement=_DECLARED)]
    return [_licence(one) for one in found]


def _licence(declared: Licence) -> License:
    """A licence by its SPDX id, or else by the name that it was declared with."""
    if is_supported_id(declared.spdx):
        return DisjunctiveLicense(id=declared.spdx, acknowledgement=_DECLARED)
    text = AttachedText(content=declared.text) if declared.text else None
    return DisjunctiveLicense(name=declared.name, text=text, acknowledgement=_DECLARED)


def _website(url: str) -> list[ExternalReference]:
    if not _URL.fullmatch(url):
        return []
    return [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(url))]


def _properties(facts: Mapping[str, str]) -> list[Property]:
    return [Property(name=name, value=value) for name, value in facts.items() if value]


def _purl(text: str) -> PackageURL:
    return PackageURL.from_string(text)


def _sha256(content: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=content)
