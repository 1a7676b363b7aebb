"""Manifests, configs and the index that joins them."""

import json

import pytest

from build.errors import InvalidImage
from build.oci import image, media
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor, Platform
from build.oci.image import Image
from build.oci.layer import Layer
from build.oci.store import Store
from tests.build.oci.layer_samples import (
    AMD64,
    ARM64,
    CONFIG,
    EPOCH_S,
    digest,
    file,
    normalised,
    tar,
    write_image,
    write_index,
)


@pytest.fixture
def layers(store):
    return tuple(normalised(store, tar(file(name, b"x")), Compression.GZIP) for name in "ab")


def test_a_manifest_lists_config_and_layers(store, layers):
    made = Image(ARM64, CONFIG, layers, ("first", "second"), {"note": "x"})
    manifest = image.write(made, store, epoch_s=EPOCH_S)
    assert (manifest.media_type, manifest.platform) == (media.MANIFEST, ARM64)
    value = store.read_json(manifest)
    config = Descriptor.from_json(value.pop("config"))
    assert value == {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "layers": [one.descriptor.as_json() for one in layers],
        "annotations": {"note": "x"},
    }
    assert config.media_type == media.CONFIG
    assert store.read_json(config) == {
        **CONFIG,
        "os": "linux",
        "architecture": "arm64",
        "created": "2023-11-14T22:13:20Z",
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [
            {"created": "2023-11-14T22:13:20Z", "created_by": "first"},
            {"created": "2023-11-14T22:13:20Z", "created_by": "second"},
        ],
    }


def test_an_image_reads_back(store, layers):
    made = Image(Platform("linux", "arm", "v7"), CONFIG, layers, ("a", "b"), {"note": "x"})
    found = image.read(store, image.write(made, store, epoch_s=0))
    assert (found.platform, found.layers, found.history) == (made.platform, layers, ("a", "b"))
    assert found.annotations == {"note": "x"}
    assert found.config["config"] == CONFIG["config"]
    assert not {"rootfs", "history"} & set(found.config)


def test_writing_what_was_read_changes_nothing(store):
    before = write_image(store)
    assert image.write(image.read(store, before), store, epoch_s=EPOCH_S) == before


def test_what_the_layers_say_is_not_taken_from_the_config(store, layers):
    stale = {**CONFIG, "rootfs": {"diff_ids": ["old"]}, "history": [{}], "architecture": "s390x"}
    made = image.write(Image(AMD64, stale, layers), store, epoch_s=0)
    assert made == image.write(Image(AMD64, CONFIG, layers), store, epoch_s=0)


def test_an_image_without_history(store, layers):
    manifest = image.write(Image(AMD64, CONFIG, layers), store, epoch_s=0)
    config = store.read_json(Descriptor.from_json(store.read_json(manifest)["config"]))
    assert "history" not in config
    assert image.read(store, manifest).history == ()


@pytest.mark.parametrize("history", [("a",), ("a", "b", "c")])
def test_a_history_has_an_entry_a_layer(store, layers, history):
    found = f"history has {len(history)} entries, expected one for each of 2 layers"
    with pytest.raises(InvalidImage, match=found):
        image.write(Image(AMD64, CONFIG, layers, history), store, epoch_s=0)


def test_a_layer_must_be_in_the_store(store):
    absent = Layer(Descriptor(media.LAYER_GZIP, digest(b"x"), 1), digest(b"y"))
    with pytest.raises(InvalidImage, match=f"blob {digest(b'x')} is missing"):
        image.write(Image(AMD64, CONFIG, (absent,)), store, epoch_s=0)


def rewrite(store, change):
    """An image whose config was changed by hand."""
    manifest = store.read_json(write_image(store))
    config = store.read_json(Descriptor.from_json(manifest["config"]))
    manifest["config"] = store.put_json(change(config), media.CONFIG).as_json()
    return store.put_json(manifest, media.MANIFEST)


def test_history_of_steps_without_a_layer_is_left_out(store):
    steps = [
        {"created_by": "FROM", "empty_layer": True},
        {"created_by": "COPY a"},
        {"created_by": "ENV", "empty_layer": True},
        {},
    ]
    manifest = rewrite(store, lambda config: config | {"history": steps})
    assert image.read(store, manifest).history == ("COPY a", "")


@pytest.mark.parametrize("history", [[{"created_by": "one"}], "text", None, [3]])
def test_a_history_that_does_not_fit_is_none(store, history):
    manifest = rewrite(store, lambda config: config | {"history": history})
    assert image.read(store, manifest).history == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rootfs": None}, "rootfs.diff_ids of the config is None, expected 2 digests"),
        ({"rootfs": {"diff_ids": []}}, "expected 2 digests"),
        ({"rootfs": {"diff_ids": ["a", "b"]}}, "digest is 'a'"),
        ({"os": ""}, "os and architecture of the config are"),
        ({"architecture": 5}, "os and architecture of the config are"),
    ],
)
def test_a_malformed_config_is_named(store, change, message):
    manifest = rewrite(store, lambda config: config | change)
    with pytest.raises(InvalidImage, match=message):
        image.read(store, manifest)


def test_a_config_is_an_object(store):
    manifest = rewrite(store, lambda config: [config])
    with pytest.raises(InvalidImage, match="expected an object"):
        image.read(store, manifest)


def test_an_index_is_no_image(store):
    with pytest.raises(InvalidImage, match="expected a manifest"):
        image.read(store, write_index(store))


def test_an_index_keeps_the_order(store):
    one, other = write_image(store, ARM64), write_image(store, AMD64)
    index = image.join([one, other], store, {"note": "x"})
    assert index.media_type == media.INDEX
    assert json.loads(store.read(index)) == {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [one.as_json(), other.as_json()],
        "annotations": {"note": "x"},
    }
    assert image.join([other, one], store, {"note": "x"}) != index


def test_an_index_may_have_no_annotations(store):
    assert "annotations" not in store.read_json(image.join([write_image(store)], store))


def test_a_platform_stands_once_in_an_index(store):
    made = write_image(store)
    with pytest.raises(InvalidImage, match=f"{made.digest} has linux/amd64 twice"):
        image.join([made, made], store)


def test_every_manifest_of_an_index_has_a_platform(store):
    made = write_image(store)
    bare = Descriptor(made.media_type, made.digest, made.size_bytes)
    with pytest.raises(InvalidImage, match="has no platform, expected one of its own"):
        image.join([bare], store)


@pytest.mark.parametrize("compression", Compression)
def test_the_same_image_has_the_same_digest(tmp_path, compression):
    found = {write_index(Store(tmp_path / name), compression=compression).digest for name in "ab"}
    assert len(found) == 1
