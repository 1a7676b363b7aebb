"""Artifacts about an image: their manifests, and the list that leads to them."""

import json
from dataclasses import replace

import pytest

from build.attestation.attest import attach, list_referrers, referrers
from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor, Platform
from build.oci.referrers import tag_of
from build.oci.store import Store

SBOM = "application/spdx+json"
PROVENANCE = "application/vnd.in-toto+json"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def subject(store):
    """The manifest of an image, with all that a descriptor may say."""
    index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}
    found = store.put_json(index, media.INDEX, annotations={"a": "b"})
    return replace(found, platform=Platform("linux", "amd64"))


def test_the_manifest_is_the_one_of_the_specification(store, subject):
    found = attach(store, subject, b"{}\n", artifact_type=SBOM)
    assert store.read_json(found) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": SBOM,
        "config": {"mediaType": media.EMPTY_JSON, "digest": EMPTY_DIGEST, "size": 2},
        "layers": [
            {
                "mediaType": SBOM,
                "digest": "sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
                "size": 3,
            }
        ],
        "subject": {
            "mediaType": subject.media_type,
            "digest": subject.digest,
            "size": subject.size_bytes,
        },
    }


def test_the_content_comes_back_as_it_was(store, subject):
    content = json.dumps({"a": "ü"}).encode()
    found = attach(store, subject, content, artifact_type=SBOM)
    config, layer = graph.children(found, store.read_json(found))
    assert (store.read(config), store.read(layer)) == (b"{}", content)
    assert graph.subject(store.read_json(found)).digest == subject.digest


def test_the_descriptor_has_what_a_list_of_referrers_wants(store, subject):
    notes = {"org.opencontainers.image.created": "2025-01-01T00:00:00Z"}
    found = attach(store, subject, b"x", artifact_type=SBOM, annotations=notes)
    assert (found.media_type, found.artifact_type) == (media.MANIFEST, SBOM)
    assert found.annotations == store.read_json(found)["annotations"] == notes


def test_no_time_is_made_up(store, subject):
    assert "annotations" not in store.read_json(attach(store, subject, b"x", artifact_type=SBOM))


def test_the_same_content_is_the_same_artifact(store, subject):
    one, other = (attach(store, subject, b"x", artifact_type=SBOM) for _ in range(2))
    assert one == other
    assert one != attach(store, subject, b"y", artifact_type=SBOM)


def test_the_list_stands_under_the_tag_of_the_subject(store, subject):
    sbom = attach(store, subject, b"x", artifact_type=SBOM)
    statement = attach(store, subject, b"y", artifact_type=PROVENANCE)
    list_referrers([sbom, statement], subject, store)
    (listed,) = store.list()
    assert listed.media_type == media.INDEX
    assert listed.annotations[media.REF_NAME] == f"sha256-{subject.digest[7:]}"
    assert store.read_json(listed)["manifests"] == [sbom.as_json(), statement.as_json()]
    assert referrers(subject, store) == (sbom, statement)


def test_everything_that_is_listed_is_whole(store, subject):
    store.name(subject, "3")
    list_referrers([attach(store, subject, b"x", artifact_type=SBOM)], subject, store)
    assert store.verify() == []
    kinds = [one.media_type for one in store.reachable(store.list())]
    assert kinds.count(SBOM) == kinds.count(media.EMPTY_JSON) == kinds.count(media.MANIFEST) == 1


def test_a_second_list_adds_to_the_first(store, subject):
    first = attach(store, subject, b"x", artifact_type=SBOM)
    second = attach(store, subject, b"y", artifact_type=PROVENANCE)
    list_referrers([first], subject, store)
    list_referrers([second, first], subject, store)
    assert referrers(subject, store) == (first, second)
    assert len(store.list()) == 1


def test_subjects_have_lists_of_their_own(store, subject):
    other = store.put_json({"schemaVersion": 2, "manifests": [1]}, media.INDEX)
    list_referrers([attach(store, subject, b"x", artifact_type=SBOM)], subject, store)
    assert referrers(other, store) == ()
    list_referrers([attach(store, other, b"x", artifact_type=SBOM)], other, store)
    assert len(store.list()) == 2
    assert referrers(subject, store) != referrers(other, store)


def test_the_tag_is_one_that_registries_take():
    found = Descriptor(media.INDEX, "sha256:" + "c" * 64, 1)
    assert tag_of(found) == "sha256-" + "c" * 64


@pytest.mark.parametrize("content", [[], {}, {"manifests": None}, {"manifests": [{"size": 1}]}])
def test_a_broken_list_is_told(store, subject, content):
    store.name(store.put_json(content, media.INDEX), tag_of(subject))
    with pytest.raises(InvalidImage):
        referrers(subject, store)
