"""The contents of an image as SPDX 2.3 JSON, the same bytes for the same image.

Format: SPDX specification 2.3, checked by the validator of `spdx-tools`. Files are not described:
the format wants a SHA-1 of each, and layers already have their digests.
"""

from __future__ import annotations

import io
import re

from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
)
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.validation.uri_validators import validate_url
from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

from build.attestation import inventory as contents
from build.attestation import lineage
from build.attestation.debian import DebianPackage
from build.attestation.inventory import Inventory
from build.attestation.licence import Licence
from build.attestation.spdx_licences import SpdxLicences
from build.attestation.subject import Subject
from build.errors import InvalidImage
from edge.bundle import Manifest

MEDIA_TYPE = "application/spdx+json"
_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-Image"
_UNSAID = SpdxNoAssertion()
_OUTSIDE_IDS = re.compile(r"[^A-Za-z0-9.-]")


def render(inventory: Inventory, subject: Subject) -> bytes:
    """The document about the image `subject` that holds `inventory`.

    Raises `InvalidImage` with what the validator finds.
    """
    licences = SpdxLicences()
    image = _image(inventory, subject)
    parts = [_package(found, licences) for found in inventory.packages]
    parts += _own(inventory, subject, licences)
    document = Document(
        creation_info=_creation(subject),
        packages=[image, *parts],
        relationships=[
            Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE),
            *(Relationship(_IMAGE, RelationshipType.CONTAINS, part.spdx_id) for part in parts),
        ],
        extracted_licensing_info=licences.extracted(),
    )
    problems = validate_full_spdx_document(document)
    if problems:
        said = [problem.validation_message for problem in problems]
        raise InvalidImage([f"the SPDX document is invalid: {message}" for message in said])
    stream = io.StringIO()
    write_document_to_stream(document, stream, validate=False)
    return stream.getvalue().encode() + b"\n"


def _creation(subject: Subject) -> CreationInfo:
    return CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=_DOCUMENT,
        name=subject.public_name,
        document_namespace=subject.uuid("spdx").urn,
        creators=[Actor(ActorType.TOOL, f"phial-{subject.phial}")],
        created=subject.created.replace(tzinfo=None),
    )


def _image(inventory: Inventory, subject: Subject) -> Package:
    return Package(
        spdx_id=_IMAGE,
        name=subject.public_name,
        version=subject.tag or subject.digest,
        download_location=_UNSAID,
        files_analyzed=False,
        checksums=[_sha256(subject.digest.removeprefix("sha256:"))],
        external_references=[_purl(subject.purl(inventory.platform))],
        primary_package_purpose=PackagePurpose.CONTAINER,
        comment=(
            f"{inventory.platform}, {inventory.files} files of {inventory.size_bytes} bytes "
            "without compression"
        ),
    )


def _own(inventory: Inventory, subject: Subject, licences: SpdxLicences) -> list[Package]:
    found = []
    if inventory.has_appliance:
        found.append(_phial(subject, licences))
    if inventory.model is not None:
        found.append(_model(inventory.model, inventory.bundle_sha256))
    return found


def _phial(subject: Subject, licences: SpdxLicences) -> Package:
    return Package(
        spdx_id="SPDXRef-Phial",
        name="phial",
        version=subject.phial,
        download_location=_UNSAID,
        files_analyzed=False,
        license_declared=licences.expression([Licence("Apache-2.0", "Apache-2.0")]),
        primary_package_purpose=PackagePurpose.APPLICATION,
    )


def _model(manifest: Manifest, bundle_sha256: str) -> Package:
    facts = lineage.facts(manifest)
    return Package(
        spdx_id="SPDXRef-Model",
        name=manifest.name,
        version=manifest.lineage.model_version or bundle_sha256,
        download_location=_UNSAID,
        files_analyzed=False,
        checksums=[_sha256(bundle_sha256)],
        primary_package_purpose=PackagePurpose.OTHER,
        comment="\n".join(f"{name}: {value}" for name, value in facts.items()),
    )


def _package(found: contents.Package, licences: SpdxLicences) -> Package:
    package = Package(
        spdx_id=_spdx_id(found),
        name=found.name,
        version=found.version,
        download_location=_UNSAID,
        files_analyzed=False,
        homepage=found.homepage if _is_url(found.homepage) else None,
        license_declared=licences.expression(found.licences),
        external_references=[_purl(found.purl)],
        primary_package_purpose=PackagePurpose.LIBRARY,
    )
    if isinstance(found, DebianPackage):
        _add_debian(package, found)
    return package


def _add_debian(package: Package, found: DebianPackage) -> None:
    package.supplier = Actor(ActorType.ORGANIZATION, "Debian")
    package.source_info = f"built from the Debian source {found.source} {found.source_version}"
    if found.maintainer:
        package.originator = Actor(ActorType.ORGANIZATION, found.maintainer)
    if found.sha256:
        package.checksums = [_sha256(found.sha256)]
    package.license_comment = _comment(found)


def _comment(found: DebianPackage) -> str | None:
    """Where the licence of a package stands that declares none a program could read."""
    if found.licences or not found.copyright_path:
        return None
    named = f"; it refers to {', '.join(found.mentioned)}" if found.mentioned else ""
    return f"The licence stands as free text in {found.copyright_path}{named}."


def _spdx_id(found: contents.Package) -> str:
    """`libstdc++6` becomes `libstdc-2B--2B-6`; names have no capitals, so no two meet."""
    if isinstance(found, DebianPackage):
        return f"SPDXRef-Debian-{_escaped(found.name)}-{_escaped(found.architecture)}"
    return f"SPDXRef-Python-{_escaped(found.name)}-{_escaped(found.version)}"


def _escaped(name: str) -> str:
    return _OUTSIDE_IDS.sub(lambda match: f"-{ord(match[0]):X}-", name)


def _is_url(text: str) -> bool:
    return bool(text) and not validate_url(text)


def _purl(text: str) -> ExternalPackageRef:
    return ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", text)


def _sha256(value: str) -> Checksum:
    return Checksum(ChecksumAlgorithm.SHA256, value)
