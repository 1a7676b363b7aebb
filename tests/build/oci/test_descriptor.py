"""Descriptors and platforms as JSON."""

import platform as python_platform

import pytest

from build.errors import InvalidImage
from build.oci import media
from build.oci.descriptor import Descriptor, Platform, checked_digest

DIGEST = "sha256:" + "a" * 64


def test_a_descriptor_has_the_keys_of_the_specification():
    found = Descriptor(
        media.MANIFEST,
        DIGEST,
        7,
        annotations={"k": "v"},
        platform=Platform("linux", "arm64", "v8"),
        artifact_type="application/spdx+json",
    )
    assert found.as_json() == {
        "mediaType": media.MANIFEST,
        "digest": DIGEST,
        "size": 7,
        "annotations": {"k": "v"},
        "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        "artifactType": "application/spdx+json",
    }
    assert Descriptor.from_json(found.as_json()) == found


def test_what_is_empty_is_left_out():
    found = Descriptor(media.CONFIG, DIGEST, 0)
    assert found.as_json() == {"mediaType": media.CONFIG, "digest": DIGEST, "size": 0}
    assert Descriptor.from_json(found.as_json()) == found


def test_keys_that_we_do_not_know_are_left_out():
    data = {"mediaType": "a/b", "digest": DIGEST, "size": 1, "urls": ["https://example.com"]}
    assert Descriptor.from_json(data) == Descriptor("a/b", DIGEST, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mediaType": 3}, "mediaType is 3, expected text"),
        ({"mediaType": ""}, "mediaType is '', expected text"),
        ({"digest": "sha256:abc"}, "digest is 'sha256:abc', expected sha256: and 64"),
        ({"digest": None}, "digest is None"),
        ({"digest": "sha512:" + "a" * 128}, "expected sha256:"),
        ({"digest": "sha256:" + "A" * 64}, "expected sha256:"),
        ({"digest": DIGEST + "\n"}, "expected sha256:"),
        ({"size": "7"}, "size is '7', expected a number of bytes"),
        ({"size": -1}, "size is -1"),
        ({"size": True}, "size is True"),
        ({"annotations": {"k": 1}}, "annotations are {'k': 1}, expected an object of strings"),
        ({"annotations": ["k"]}, "annotations are"),
        ({"platform": "linux"}, "platform is 'linux', expected a JSON object"),
        ({"platform": {"os": "linux"}}, "architecture is None, expected text"),
        ({"platform": {"os": 1, "architecture": "arm64"}}, "os is 1, expected text"),
        ({"artifactType": 5}, "artifactType is 5, expected text"),
    ],
)
def test_a_malformed_field_is_named(change, message):
    data = {"mediaType": "a/b", "digest": DIGEST, "size": 1} | change
    with pytest.raises(InvalidImage, match=message.replace("(", r"\(").replace("[", r"\[")):
        Descriptor.from_json(data)


@pytest.mark.parametrize("data", [None, [], "sha256:x", 4])
def test_a_descriptor_is_an_object(data):
    with pytest.raises(InvalidImage, match="expected a JSON object"):
        Descriptor.from_json(data)


def test_a_digest_that_is_one_comes_back():
    assert checked_digest(DIGEST) == DIGEST


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm64", "linux/arm/v7"])
def test_a_platform_reads_back_as_it_is_written(text):
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/arm64", "linux/arm/v7/x", "linux/a b"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(InvalidImage, match="expected OS/ARCHITECTURE as in linux/arm64"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [("x86_64", "linux/amd64"), ("AMD64", "linux/amd64"), ("aarch64", "linux/arm64")],
)
def test_the_platform_of_a_machine(monkeypatch, machine, expected):
    monkeypatch.setattr(python_platform, "machine", lambda: machine)
    assert str(Platform.of_machine()) == expected


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ("linux/arm64", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/amd64", False),
        ("linux/amd64", "windows/amd64", False),
    ],
)
def test_platforms_fit(one, other, fits):
    assert Platform.parse(one).fits(Platform.parse(other)) is fits
