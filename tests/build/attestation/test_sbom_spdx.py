"""The SPDX document: valid by its own tools, complete, the same every time, and discreet."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from spdx_tools.spdx.model.package import PackagePurpose
from spdx_tools.spdx.model.relationship import RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from build.attestation import sbom_spdx
from build.attestation.debian import DebianPackage
from build.attestation.inventory import Inventory, take
from build.attestation.licence import Licence
from build.attestation.wheel import Wheel
from build.errors import InvalidImage
from tests.build.attestation.image_samples import AMD64, subject_of, whole_image

ROOT = Path(__file__).parents[3]
RENDER = """
from pathlib import Path
from tempfile import TemporaryDirectory
import sys
from build.attestation import inventory, sbom_spdx
from tests.build.attestation.image_samples import subject_of, whole_image
with TemporaryDirectory() as folder:
    found = inventory.take(*whole_image(Path(folder) / "store"))
sys.stdout.buffer.write(sbom_spdx.render(found, subject_of()))
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    return take(*whole_image(tmp_path_factory.mktemp("image") / "store"))


@pytest.fixture
def parsed(tmp_path):
    """`parsed(inventory)` as SPDX's own parser reads the document, after its own validator."""

    def parse(inventory):
        path = tmp_path / "image.spdx.json"
        path.write_bytes(sbom_spdx.render(inventory, subject_of()))
        document = parse_file(str(path))
        assert validate_full_spdx_document(document) == []
        return document

    return parse


def packages(document):
    return {one.name: one for one in document.packages}


def of_wheel(parsed, *licences, **changes):
    """The document of an image with one wheel, and the wheel in it."""
    found = Wheel("x", "1", licences=licences, **changes)
    document = parsed(Inventory(AMD64, wheels=(found,)))
    return document, packages(document)["x"]


def test_a_whole_image_is_valid(inventory, parsed):
    creation = parsed(inventory).creation_info
    assert (creation.spdx_version, creation.data_license) == ("SPDX-2.3", "CC0-1.0")
    assert creation.name == "acme/phi3"
    assert creation.document_namespace == subject_of().uuid("spdx").urn
    assert [str(one) for one in creation.creators] == ["Tool: phial-0.1.0"]


def test_an_empty_image_is_valid(parsed):
    assert list(packages(parsed(Inventory(AMD64)))) == ["acme/phi3"]


def test_it_names_exactly_what_the_image_holds(inventory, parsed):
    document = parsed(inventory)
    purls = [ref.locator for one in document.packages for ref in one.external_references]
    expected = [subject_of().purl(AMD64), *(one.purl for one in inventory.packages)]
    assert sorted(purls) == sorted(expected)
    assert len(document.packages) == len(inventory.packages) + 3


def test_the_document_describes_the_image_which_contains_the_rest(inventory, parsed):
    document = parsed(inventory)
    image, *parts = document.packages
    found = {
        (one.spdx_element_id, one.relationship_type, one.related_spdx_element_id)
        for one in document.relationships
    }
    assert found == {
        ("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, image.spdx_id),
        *((image.spdx_id, RelationshipType.CONTAINS, part.spdx_id) for part in parts),
    }


def test_the_image_itself(inventory, parsed):
    image = parsed(inventory).packages[0]
    assert image.primary_package_purpose == PackagePurpose.CONTAINER
    assert (image.name, image.version) == ("acme/phi3", "3")
    assert image.checksums[0].value == subject_of().digest[7:]
    assert image.comment.startswith(f"linux/amd64, {inventory.files} files")


def test_a_debian_package(inventory, parsed):
    found = packages(parsed(inventory))["libstdc++6"]
    assert found.spdx_id == "SPDXRef-Debian-libstdc-2B--2B-6-amd64"
    assert str(found.supplier) == "Organization: Debian"
    assert str(found.originator) == "Organization: Debian GCC Maintainers"
    assert found.source_info == "built from the Debian source gcc-12 12.2.0-14+deb12u1"
    assert found.license_declared == SpdxNoAssertion()
    assert found.license_comment == (
        "The licence stands as free text in usr/share/doc/libstdc++6/copyright; "
        "it refers to GPL-2, LGPL-2.1."
    )
    assert len(found.checksums) == 1


def test_wheels_with_their_licences(inventory, parsed):
    found = packages(parsed(inventory))
    assert str(found["flask"].license_declared) == "BSD-3-Clause"
    assert str(found["packaging"].license_declared) == "Apache-2.0 OR BSD-2-Clause"
    assert found["numpy"].homepage == "https://numpy.org"
    assert found["phial"].primary_package_purpose == PackagePurpose.APPLICATION


def test_the_model_has_its_digest_and_its_lineage(inventory, parsed):
    found = packages(parsed(inventory))["phi3"]
    assert found.version == "3"
    assert found.checksums[0].value == inventory.bundle_sha256
    assert "phial:mlflow:run_id: 0123456789abcdef" in found.comment.splitlines()


def test_what_is_not_there_is_not_named(inventory, parsed):
    bare = replace(inventory, has_appliance=False, model=None)
    assert {"phial", "phi3"} & set(packages(parsed(bare))) == set()


def test_nobody_and_no_place_is_named(inventory):
    raw = sbom_spdx.render(inventory, subject_of()).decode()
    assert "mlflow.user" not in raw
    assert "ada" not in raw
    assert "/home" not in raw


def test_two_renders_are_the_same_bytes(inventory):
    first, second = (sbom_spdx.render(inventory, subject_of()) for _ in range(2))
    assert first == second
    assert first != sbom_spdx.render(inventory, subject_of(b"other"))


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_renders_the_same_bytes(inventory, seed):
    command = [sys.executable, "-c", RENDER]
    env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    raw = subprocess.run(command, check=True, capture_output=True, env=env, cwd=ROOT).stdout
    assert raw == sbom_spdx.render(inventory, subject_of())


def test_the_time_is_that_of_the_sources(inventory):
    document = json.loads(sbom_spdx.render(inventory, subject_of()))
    assert document["creationInfo"]["created"] == "2025-01-01T00:00:00Z"


def test_names_without_an_id_become_references_with_their_text(parsed):
    licences = (Licence("odd one", "", "A text."), Licence("Expat", "MIT OR ISC"))
    document, wheel = of_wheel(parsed, *licences)
    (extracted,) = document.extracted_licensing_info
    assert extracted.license_id.startswith("LicenseRef-odd-one-")
    assert (extracted.license_name, extracted.extracted_text) == ("odd one", "A text.")
    assert str(wheel.license_declared) == f"{extracted.license_id} AND (MIT OR ISC)"


def test_the_same_name_with_another_text_is_another_reference(parsed):
    wheels = [
        Wheel(name, "1", licences=(Licence("odd", "", text),))
        for name, text in [("a", "One."), ("b", "Two."), ("c", "One.")]
    ]
    document = parsed(Inventory(AMD64, wheels=tuple(wheels)))
    assert len(document.extracted_licensing_info) == 2
    declared = {name: str(one.license_declared) for name, one in packages(document).items()}
    assert declared["a"] == declared["c"] != declared["b"]


@pytest.mark.parametrize("name", ["NONE", "NOASSERTION", "…", "a" * 300, "(", "AND", "x:y", "-.-"])
def test_strange_names_of_licences_stay_valid(parsed, name):
    _, wheel = of_wheel(parsed, Licence(name))
    assert str(wheel.license_declared).startswith("LicenseRef-")


@pytest.mark.parametrize("url", ["", "not a url", "javascript:alert(1)"])
def test_a_homepage_that_is_none_is_left_out(parsed, url):
    assert of_wheel(parsed, homepage=url)[1].homepage is None


def test_different_names_have_different_ids(parsed):
    found = [
        DebianPackage(name, "1", "amd64", name, "1", "debian-12")
        for name in ("g++", "g--", "g-2b--2b-", "g..")
    ]
    document = parsed(Inventory(AMD64, debian=tuple(found)))
    assert len({one.spdx_id for one in document.packages}) == len(found) + 1


def test_what_the_validator_refuses_is_told():
    twice = DebianPackage("libc6", "1", "amd64", "glibc", "1", "debian-12")
    with pytest.raises(InvalidImage, match="SPDX document is invalid: "):
        sbom_spdx.render(Inventory(AMD64, debian=(twice, twice)), subject_of())
