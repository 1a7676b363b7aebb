"""A layout as a tar."""

import tarfile

import pytest

from build.errors import InvalidImage
from build.oci import archive, media
from build.oci.store import Store, named
from tests.build.oci.layer_samples import write_image, write_index


def unpacked(path, folder):
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
    return Store(folder)


def test_it_holds_the_layout(store, tmp_path):
    index = write_index(store)
    store.name(index, "3")
    archive.write(store, tmp_path / "out.tar")
    found = unpacked(tmp_path / "out.tar", tmp_path / "found")
    assert found.list() == (named(index, "3"),)
    assert found.verify() == []
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = tar.getnames()
    assert names[:4] == ["oci-layout", "index.json", "blobs", "blobs/sha256"]
    assert names[4:] == sorted(names[4:])


def test_it_holds_nothing_else(store, tmp_path):
    store.name(write_image(store), "3")
    store.put(b"unused", "text/plain")
    (store.folder / ".part-x").write_bytes(b"half")
    archive.write(store, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        blobs = [name for name in tar.getnames() if name.startswith("blobs/sha256/")]
    assert len(blobs) == 4  # manifest, config, two layers


def test_what_it_offers_can_be_chosen(store, tmp_path):
    chosen = named(write_image(store), "chosen")
    store.name(store.put(b"{}", media.CONFIG), "other")
    archive.write(store, tmp_path / "out.tar", [chosen])
    assert unpacked(tmp_path / "out.tar", tmp_path / "found").list() == (chosen,)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    found = []
    for name in "ab":
        store = Store(tmp_path / name)
        for _ in range(2):
            store.put(name.encode(), "text/plain")  # not reachable
        store.name(write_index(store), "3")
        archive.write(store, tmp_path / f"{name}.tar")
        found.append((tmp_path / f"{name}.tar").read_bytes())
    assert found[0] == found[1]


def test_its_entries_are_roots_and_have_no_time(store, tmp_path):
    store.name(write_image(store), "3")
    archive.write(store, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        found = {(i.mtime, i.uid, i.gid, i.uname, i.mode, i.isdir()) for i in tar}
    assert found == {(0, 0, 0, "", 0o644, False), (0, 0, 0, "", 0o755, True)}


def test_a_missing_blob_is_named(store, tmp_path):
    manifest = write_image(store)
    store.name(manifest, "3")
    layer = store.read_json(manifest)["layers"][0]["digest"]
    store.path(layer).unlink()
    with pytest.raises(InvalidImage, match=f"blob {layer} is missing"):
        archive.write(store, tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


def test_names_stand_in_the_index(store, tmp_path):
    store.name(write_image(store), "3")
    archive.write(store, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        content = tar.extractfile("index.json").read()
    assert media.REF_NAME.encode() in content
    assert content == (store.folder / "index.json").read_bytes()
