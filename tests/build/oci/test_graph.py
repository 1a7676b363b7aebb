"""What a manifest or an index refers to."""

import pytest

from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor


def blob(letter, media_type="application/octet-stream"):
    return Descriptor(media_type, f"sha256:{letter * 64}", 1)


MANIFEST, INDEX = blob("1", media.MANIFEST), blob("2", media.INDEX)


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        (media.INDEX, True),
        (media.MANIFEST, True),
        (media.DOCKER_INDEX, True),
        (media.DOCKER_MANIFEST, True),
        (media.CONFIG, False),
        (media.LAYER_ZSTD, False),
    ],
)
def test_manifests_are_told_by_their_media_type(media_type, expected):
    assert graph.is_manifest(blob("a", media_type)) is expected


def test_a_manifest_refers_to_its_config_and_then_its_layers():
    value = {
        "config": blob("a").as_json(),
        "layers": [blob("c").as_json(), blob("b").as_json()],
        "subject": blob("d").as_json(),
    }
    assert graph.children(MANIFEST, value) == (blob("a"), blob("c"), blob("b"))


def test_an_index_refers_to_its_manifests():
    value = {"manifests": [blob("b").as_json(), blob("a").as_json()]}
    assert graph.children(INDEX, value) == (blob("b"), blob("a"))


@pytest.mark.parametrize(
    ("descriptor", "value", "message"),
    [
        (MANIFEST, [], "is list, expected an object"),
        (MANIFEST, {"layers": []}, "descriptor is None"),
        (MANIFEST, {"config": blob("a").as_json()}, "layers of sha256:1+ is None, expected a list"),
        (INDEX, {}, "manifests of sha256:2+ is None, expected a list"),
        (INDEX, {"manifests": [3]}, "descriptor is 3"),
    ],
)
def test_what_is_malformed_is_named(descriptor, value, message):
    with pytest.raises(InvalidImage, match=message):
        graph.children(descriptor, value)


def test_an_artifact_has_a_subject():
    assert graph.subject({"subject": blob("d").as_json()}) == blob("d")


@pytest.mark.parametrize("value", [{}, [], {"subject": None}])
def test_an_image_has_none(value):
    assert graph.subject(value) is None
