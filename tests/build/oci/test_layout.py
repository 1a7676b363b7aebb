"""Copies of a layout."""

import pytest

from build.errors import InvalidImage
from build.oci import layout
from build.oci.store import named
from tests.build.oci.layer_samples import write_image, write_index


def test_a_copy_offers_what_it_was_told_to(store, tmp_path):
    index = named(write_index(store), "3")
    store.put(b"unused", "text/plain")
    copy = layout.copy(store, tmp_path / "copy", [index])
    assert copy.list() == (index,)
    assert copy.verify() == []
    there = {path.name for path in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    assert there == {blob.digest[7:] for blob in store.reachable([index])}


def test_the_original_stays_as_it_is(store, tmp_path):
    index = write_index(store)
    layout.copy(store, tmp_path / "copy", [named(index, "3")])
    assert store.list() == ()
    assert [*store.reachable([index])]


def test_a_copy_is_no_link(store, tmp_path):
    manifest = write_image(store)
    copy = layout.copy(store, tmp_path / "copy", [manifest])
    assert copy.path(manifest.digest).stat().st_nlink == 1
    assert copy.path(manifest.digest).stat().st_ino != store.path(manifest.digest).stat().st_ino


@pytest.mark.parametrize("damage", [b"x", b""])
def test_damage_is_found_on_the_way(store, tmp_path, damage):
    manifest = write_image(store)
    layer = store.read_json(manifest)["layers"][1]["digest"]
    store.path(layer).write_bytes(damage)
    with pytest.raises(InvalidImage, match=f"blob {layer} has sha256:"):
        layout.copy(store, tmp_path / "copy", [manifest])


def test_a_missing_blob_is_named(store, tmp_path):
    manifest = write_image(store)
    config = store.read_json(manifest)["config"]["digest"]
    store.path(config).unlink()
    with pytest.raises(InvalidImage, match=f"blob {config} is missing"):
        layout.copy(store, tmp_path / "copy", [manifest])
