"""The CycloneDX document: valid, complete, the same every time, and discreet."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from build.attestation import sbom_cyclonedx
from build.attestation.inventory import Inventory, take
from build.attestation.licence import Licence
from build.attestation.wheel import Wheel
from build.oci.store import Store
from tests.build.attestation.image_samples import (
    AMD64,
    MANIFEST,
    WEIGHTS,
    image_of,
    subject_of,
    wheels,
    whole_image,
)

ROOT = Path(__file__).parents[3]
RENDER = """
from pathlib import Path
from tempfile import TemporaryDirectory
import sys
from build.attestation import inventory, sbom_cyclonedx
from tests.build.attestation.image_samples import subject_of, whole_image
with TemporaryDirectory() as folder:
    found = inventory.take(*whole_image(Path(folder) / "store"))
sys.stdout.buffer.write(sbom_cyclonedx.render(found, subject_of()))
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    return take(*whole_image(tmp_path_factory.mktemp("image") / "store"))


@pytest.fixture(scope="module")
def document(inventory):
    return json.loads(sbom_cyclonedx.render(inventory, subject_of()))


def check(raw):
    """Fail with every violation of the official schema."""
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode(), all_errors=True)
    assert [str(error) for error in errors or ()] == []
    return json.loads(raw)


def component(document, name):
    return next(one for one in document["components"] if one["name"] == name)


def of_wheel(*licences, **changes):
    """The component of a wheel with these licences."""
    found = Wheel("x", "1", licences=licences, **changes)
    raw = sbom_cyclonedx.render(Inventory(AMD64, wheels=(found,)), subject_of())
    return component(check(raw), "x")


def test_a_whole_image_is_valid(inventory):
    document = check(sbom_cyclonedx.render(inventory, subject_of()))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")


def test_an_empty_image_is_valid():
    document = check(sbom_cyclonedx.render(Inventory(AMD64), subject_of()))
    assert document.get("components", []) == []


def test_it_names_exactly_what_the_image_holds(inventory, document):
    found = {one["purl"] for one in document["components"] if "purl" in one}
    assert found == {package.purl for package in inventory.packages}
    assert len(document["components"]) == len(inventory.packages) + 2


def test_it_follows_the_image(tmp_path):
    store = Store(tmp_path)
    image = image_of(store, wheels("flask", "numpy"), {"app/.wh.lib": b""}, wheels("blinker"))
    document = json.loads(sbom_cyclonedx.render(take(image, store), subject_of()))
    assert [one["name"] for one in document["components"]] == ["blinker"]


def test_the_image_itself_is_the_subject(document):
    image = document["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", "acme/phi3", "3")
    assert image["purl"] == subject_of().purl(AMD64)
    assert [one["content"] for one in image["hashes"]] == [subject_of().digest[7:]]


def test_an_image_without_a_tag_has_its_digest_as_version(inventory):
    raw = sbom_cyclonedx.render(inventory, subject_of(tag=""))
    assert json.loads(raw)["metadata"]["component"]["version"] == subject_of().digest


def test_a_debian_package(document):
    found = component(document, "libstdc++6")
    assert found["type"] == "library"
    assert found["supplier"] == {"name": "Debian"}
    assert found["publisher"] == "Debian GCC Maintainers"
    assert {one["name"]: one["value"] for one in found["properties"]} == {
        "phial:debian:source": "gcc-12",
        "phial:debian:source-version": "12.2.0-14+deb12u1",
        "phial:debian:copyright-file": "usr/share/doc/libstdc++6/copyright",
    }
    assert [one["alg"] for one in found["hashes"]] == ["SHA-256"]
    mentioned = [one["license"]["name"] for one in found["evidence"]["licenses"]]
    assert (mentioned, "licenses" in found) == (["GPL-2", "LGPL-2.1"], False)


def test_a_wheel(document):
    found = component(document, "numpy")
    assert found["externalReferences"] == [{"type": "website", "url": "https://numpy.org"}]
    (licence,) = found["licenses"]
    assert licence["expression"].startswith("BSD-3-Clause AND ")
    assert licence["acknowledgement"] == "declared"


def test_phial_itself(document, inventory):
    found = component(document, "phial")
    assert (found["type"], found["version"]) == ("application", "0.1.0")
    without = replace(inventory, has_appliance=False)
    names = json.loads(sbom_cyclonedx.render(without, subject_of()))["components"]
    assert "phial" not in [one["name"] for one in names]


def test_the_model_is_a_model_with_its_files_and_its_lineage(document, inventory):
    found = component(document, "phi3")
    assert (found["type"], found["version"]) == ("machine-learning-model", "3")
    assert found["hashes"] == [{"alg": "SHA-256", "content": inventory.bundle_sha256}]
    assert [one["name"] for one in found["components"]] == ["model/model.onnx"]
    assert found["components"][0]["hashes"][0]["content"] == MANIFEST.files[0].sha256
    facts = {one["name"]: one["value"] for one in found["properties"]}
    assert facts["phial:mlflow:run_id"] == "0123456789abcdef"
    assert facts["phial:mlflow:tag:team"] == "edge"


def test_nobody_and_no_place_is_named(inventory):
    raw = sbom_cyclonedx.render(inventory, subject_of()).decode()
    assert "mlflow.user" not in raw
    assert "ada" not in raw.replace("metadata", "")
    assert "/home" not in raw
    assert WEIGHTS.decode() not in raw


def test_the_image_depends_on_everything_in_it(document):
    graph = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert sorted(graph["image"]) == sorted(one["bom-ref"] for one in document["components"])
    assert all(one["bom-ref"] in graph for one in document["components"])


def test_two_renders_are_the_same_bytes(inventory):
    first, second = (sbom_cyclonedx.render(inventory, subject_of()) for _ in range(2))
    assert first == second
    assert first != sbom_cyclonedx.render(inventory, subject_of(b"other"))


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_renders_the_same_bytes(inventory, seed):
    command = [sys.executable, "-c", RENDER]
    env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    raw = subprocess.run(command, check=True, capture_output=True, env=env, cwd=ROOT).stdout
    assert raw == sbom_cyclonedx.render(inventory, subject_of())


def test_the_time_is_that_of_the_sources(document):
    assert document["metadata"]["timestamp"] == "2025-01-01T00:00:00+00:00"
    assert document["serialNumber"] == subject_of().uuid("cyclonedx").urn


def test_one_licence_has_its_id():
    (found,) = of_wheel(Licence("MIT License", "MIT"))["licenses"]
    assert found == {"license": {"id": "MIT", "acknowledgement": "declared"}}


def test_several_licences_are_one_expression():
    licences = (Licence("a", "MIT OR ISC"), Licence("b", "Zlib"))
    assert of_wheel(*licences)["licenses"] == [
        {"expression": "(MIT OR ISC) AND Zlib", "acknowledgement": "declared"}
    ]


def test_licences_without_an_id_are_a_list_of_names():
    licences = (
        Licence("odd", "", "A text."),
        Licence("Expat", "MIT"),
        Licence("a or b", "MIT OR ISC"),
    )
    found = [one["license"] for one in of_wheel(*licences)["licenses"]]
    assert sorted(one.get("id", one.get("name")) for one in found) == ["MIT", "a or b", "odd"]
    assert next(one["text"]["content"] for one in found if one.get("name") == "odd") == "A text."


@pytest.mark.parametrize(
    "url", ["", "not a url", "javascript:alert(1)", "https://a b", "https://x/#a#b"]
)
def test_a_homepage_that_is_none_is_left_out(url):
    assert "externalReferences" not in of_wheel(homepage=url)
