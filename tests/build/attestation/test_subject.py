"""The subject of a document: its purl, its identifiers, its time."""

from datetime import UTC, datetime

import pytest

from build.attestation.subject import Subject
from build.oci.descriptor import Platform
from tests.build.attestation.image_samples import subject_of

DIGEST = "sha256:" + "a" * 64
ARM64 = Platform("linux", "arm64")


def subject(name, tag="3"):
    return Subject(name, tag, DIGEST, 1_735_689_600, "0.1.0")


@pytest.mark.parametrize(
    ("name", "purl"),
    [
        ("phi3", "pkg:oci/phi3@sha256:{}?arch=arm64&tag=3"),
        ("acme/Phi3", "pkg:oci/phi3@sha256:{}?arch=arm64&tag=3"),
        (
            "reg.example/acme/phi3",
            "pkg:oci/phi3@sha256:{}?arch=arm64&repository_url=reg.example/acme/phi3&tag=3",
        ),
        (
            "localhost:5000/phi3",
            "pkg:oci/phi3@sha256:{}?arch=arm64&repository_url=localhost:5000/phi3&tag=3",
        ),
    ],
)
def test_the_purl_is_that_of_an_oci_image(name, purl):
    assert subject(name).purl(ARM64) == purl.format("a" * 64)


def test_an_index_is_of_no_architecture_and_a_tag_may_be_missing():
    assert subject("phi3", tag="").purl() == f"pkg:oci/phi3@{DIGEST}"


def test_credentials_and_paths_in_a_name_do_not_travel():
    assert subject("docker://me:pw@reg.example/x").public_name == "docker://reg.example/x"
    assert subject("/home/me/images/x").public_name == "x"


def test_the_time_is_that_of_the_sources():
    assert subject("x").created == datetime(2025, 1, 1, tzinfo=UTC)


def test_an_identifier_follows_from_the_kind_and_the_digest_alone():
    one = subject_of(b"1")
    assert one.uuid("spdx") == subject_of(b"1", tag="latest", name="other").uuid("spdx")
    assert one.uuid("spdx") != one.uuid("cyclonedx")
    assert one.uuid("spdx") != subject_of(b"2").uuid("spdx")
    assert one.uuid("spdx").version == 5
