"""Lists of what is about an image."""

import pytest

from build.errors import InvalidImage
from build.oci import media, referrers
from build.oci.descriptor import Descriptor
from tests.build.oci.layer_samples import AMD64, artifact, digest, write_image, write_index


def test_the_tag_is_made_of_the_digest():
    subject = Descriptor(media.INDEX, digest(b"x"), 1)
    assert referrers.tag_of(subject) == digest(b"x").replace(":", "-")
    assert len(referrers.tag_of(subject)) == 7 + 64


def test_a_list_is_an_index_that_keeps_type_and_annotations(store):
    one = artifact(store, write_image(store))
    assert referrers.merged((), [one]) == {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [
            {
                "mediaType": media.MANIFEST,
                "digest": one.digest,
                "size": one.size_bytes,
                "artifactType": "application/spdx+json",
                "annotations": {"name": "sbom"},
            }
        ],
    }


def test_lists_are_merged_and_nothing_stands_twice(store):
    subject = write_image(store)
    one, two, three = (artifact(store, subject, name) for name in ("1", "2", "3"))
    index = referrers.merged([one, two], [two, three])
    assert referrers.listed(index, "it") == (one, two, three)


def test_a_platform_is_no_business_of_the_list():
    one = Descriptor(media.MANIFEST, digest(b"x"), 1, platform=AMD64)
    assert "platform" not in referrers.merged((), [one])["manifests"][0]


@pytest.mark.parametrize("index", [None, [], {}, {"manifests": {}}])
def test_what_is_no_list_is_named(index):
    with pytest.raises(InvalidImage, match="it has no list of manifests, expected an image index"):
        referrers.listed(index, "it")


def test_artifacts_are_grouped_by_what_they_are_about(store):
    index = write_index(store)
    image = write_image(store)
    about = [artifact(store, index, "1"), artifact(store, image, "2"), artifact(store, index, "3")]
    found = referrers.by_subject(about, store)
    assert [(s.digest, a) for s, a in found] == [
        (index.digest, [about[0], about[2]]),
        (image.digest, [about[1]]),
    ]


def test_an_artifact_about_nothing_is_refused(store):
    image = write_image(store)
    with pytest.raises(InvalidImage, match=f"{image.digest} is about nothing, expected a subject"):
        referrers.by_subject([image], store)
