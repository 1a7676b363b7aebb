"""METADATA as real wheels and as attackers write it."""

from contextlib import suppress
from importlib.metadata import distribution

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from build.attestation.licence import Licence
from build.attestation.wheel import wheel
from build.errors import InvalidImage
from tests.build.attestation.image_samples import WHEELS, metadata_of

WHERE = "app/lib/x.dist-info/METADATA"
LEAST = "Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\n"


def read(text):
    return wheel(text.encode(), WHERE)


@pytest.mark.parametrize("name", WHEELS)
def test_real_wheels_have_their_version_a_purl_and_a_licence(name):
    found = wheel(metadata_of(name), WHERE)
    assert (found.name, found.version) == (name, distribution(name).version)
    assert found.purl == f"pkg:pypi/{name}@{found.version}"
    assert [licence.name for licence in found.licences] != []
    assert found.homepage == "" or found.homepage.startswith("https://")


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("blinker", Licence("MIT License", "MIT")),
        ("flask", Licence("BSD-3-Clause", "BSD-3-Clause")),
        ("flatbuffers", Licence("Apache 2.0", "Apache-2.0")),
        ("itsdangerous", Licence("BSD License", "")),
        ("llguidance", Licence("MIT", "MIT")),
        ("onnxruntime-genai", Licence("MIT License", "MIT")),
        ("packaging", Licence("Apache-2.0 OR BSD-2-Clause", "Apache-2.0 OR BSD-2-Clause")),
        ("protobuf", Licence("3-Clause BSD License", "BSD-3-Clause")),
    ],
)
def test_licences_of_real_wheels(name, licence):
    assert wheel(metadata_of(name), WHERE).licences == (licence,)


def test_the_most_exact_declaration_wins():
    classified = "Classifier: License :: OSI Approved :: ISC License (ISCL)\n"
    assert read(LEAST + classified + "License: whatever\n").licences[0].spdx == "ISC"
    assert read(LEAST + classified + "License: MIT\n").licences[0].spdx == "MIT"
    exact = read(LEAST + classified + "License: MIT\nLicense-Expression: Zlib\n")
    assert exact.licences == (Licence("Zlib", "Zlib"),)


def test_a_name_that_means_nothing_is_kept_as_it_is():
    assert read(LEAST + "License: Dual License\n").licences == (Licence("Dual License"),)
    assert read(LEAST).licences == ()


def test_names_and_versions_are_normalised():
    found = read("Name: Some_Thing.else\nVersion: 1.0-RC1\n")
    assert (found.name, found.version) == ("some-thing-else", "1.0rc1")


def test_a_local_version_is_escaped_in_the_purl():
    assert read("Name: torch\nVersion: 2.13.0+cpu\n").purl == "pkg:pypi/torch@2.13.0%2Bcpu"


def test_the_homepage_is_the_field_of_old_or_a_labelled_url():
    labelled = (
        "Project-URL: Chat, https://chat.example\nProject-URL: Source, https://code.example\n"
    )
    assert read(LEAST + labelled).homepage == "https://code.example"
    assert read(LEAST + labelled + "Home-page: https://a.example\n").homepage == "https://a.example"


def test_credentials_in_a_homepage_do_not_travel():
    assert read(LEAST + "Home-page: https://me:pw@a.example/x\n").homepage == "https://a.example/x"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Version: 1.0\n", "Name is ''"),
        ("Name: x\nName: y\nVersion: 1.0\n", "Name is ''"),
        ("Name: ../../etc\nVersion: 1.0\n", "Name is '../../etc'"),
        ("Name: x\n", "Version is ''"),
        ("Name: x\nVersion: latest\n", "Version is 'latest'"),
        ("nothing of the kind", "Name is ''"),
        ("", "Name is ''"),
    ],
)
def test_what_no_installer_would_take_is_refused_with_its_place(text, problem):
    with pytest.raises(InvalidImage) as caught:
        read(text)
    assert f"{WHERE}: {problem}, expected" in str(caught.value)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidImage, match="Name is"):
        wheel(b"\xff\xfe\x00Name\x00", WHERE)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_there_is_a_wheel_or_a_refusal(raw):
    for metadata in (raw, LEAST.encode() + raw, raw + LEAST.encode()):
        with suppress(InvalidImage):
            assert PackageURL.from_string(wheel(metadata, WHERE).purl).type == "pypi"
