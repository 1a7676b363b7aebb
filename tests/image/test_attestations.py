"""SBOMs and provenance against what is in the image, counted without them."""

from __future__ import annotations

import json
import re

import pytest

from build.attestation import attest
from build.oci import layer

pytestmark = pytest.mark.image
CYCLONEDX, SPDX = "application/vnd.cyclonedx+json", "application/spdx+json"
PROVENANCE = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def documents(layout):
    """(type, platform) to document."""
    found = {}
    for one in attest.referrers(layout.index, layout.store):
        manifest = layout.store.read_json(one)
        assert manifest["subject"]["digest"] == layout.digest
        content = layout.store.path(manifest["layers"][0]["digest"]).read_bytes()
        platform = manifest.get("annotations", {}).get("phial.platform", "")
        found[one.artifact_type, platform] = json.loads(content)
    return found


def held(layout, arch: str) -> set[str]:
    """`name@version` of every package, by the files of the image alone."""
    found = set()
    for part in layout.image(arch).layers:
        for info, stream in layer.entries(layout.store, part.descriptor):
            if stream and info.name.startswith("var/lib/dpkg/status.d/"):
                text = stream.read().decode()
                name, version = (
                    re.search(rf"^{key}: (.+)$", text, re.M)[1] for key in ("Package", "Version")
                )
                found.add(f"{name}@{version}")
            elif match := re.search(r"app/lib/([^/]+)-([^/-]+)\.dist-info/METADATA$", info.name):
                found.add(f"{match[1].lower().replace('_', '-')}@{match[2]}")
    return found


def test_there_are_two_sboms_a_platform_and_one_provenance(documents):
    platforms = ("linux/amd64", "linux/arm64")
    boms = {(kind, platform) for kind in (CYCLONEDX, SPDX) for platform in platforms}
    assert set(documents) == boms | {(PROVENANCE, "")}


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_cyclonedx_names_what_is_in_the_image_and_nothing_else(documents, layout, arch):
    components = documents[CYCLONEDX, f"linux/{arch}"]["components"]
    packages = {f"{c['name']}@{c['version']}" for c in components if c["type"] == "library"}
    assert packages == held(layout, arch)
    assert len(packages) > 25
    kinds = {component["type"] for component in components}
    assert {"application", "machine-learning-model"} <= kinds


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_spdx_names_the_same(documents, layout, arch):
    packages = documents[SPDX, f"linux/{arch}"]["packages"]
    named = {
        f"{package['name']}@{package.get('versionInfo', '')}"
        for package in packages
        if any("pkg:deb" in r["referenceLocator"] or "pkg:pypi" in r["referenceLocator"]
               for r in package.get("externalRefs", []))
    }  # fmt: skip
    assert named == held(layout, arch)


def test_debian_packages_carry_the_digest_of_what_was_downloaded(documents, wheelhouse):
    sums = (wheelhouse / "debian/arm64/SHA256SUMS").read_text()
    components = documents[CYCLONEDX, "linux/arm64"]["components"]
    found = {
        entry["content"]
        for component in components
        if component.get("purl", "").startswith("pkg:deb")
        for entry in component.get("hashes", [])
    }
    assert len(found) > 12
    assert found <= set(re.findall(r"^[0-9a-f]{64}", sums, re.M))


def test_the_provenance_is_about_the_index_and_each_image(documents, layout):
    statement = documents[PROVENANCE, ""]
    digests = {subject["digest"]["sha256"] for subject in statement["subject"]}
    manifests = {one.digest for one in layout.manifests.values()}
    assert digests == {d.removeprefix("sha256:") for d in (layout.digest, *manifests)}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["containerTool"]["name"] == "buildah"
    assert definition["externalParameters"]["architectures"] == ["amd64", "arm64"]


def test_no_document_tells_of_this_machine(documents, repository, layout):
    text = json.dumps(list(documents.values()))
    for private in (str(repository), str(layout.folder.parent), "/tmp/", "mlflow.user"):
        assert private not in text
