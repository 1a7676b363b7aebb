"""An image layout in a folder."""

import hashlib
import json
import os

import pytest

from build.errors import InvalidImage
from build.oci import graph, media
from build.oci.descriptor import Descriptor, Platform
from build.oci.store import Store, encode, encode_index, named
from tests.build.oci.layer_samples import AMD64, digest, write_image, write_index


def names(store):
    paths = (path for path in store.folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(store.folder).as_posix() for path in paths)


def test_a_new_store_is_an_empty_layout(store):
    assert names(store) == ["index.json", "oci-layout"]
    assert json.loads((store.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}
    assert json.loads((store.folder / "index.json").read_text()) == index
    assert store.list() == ()
    assert store.verify() == []


def test_an_old_store_keeps_what_is_in_it(store):
    kept = store.put(b"kept", "text/plain")
    store.name(kept, "3")
    again = Store(store.folder)
    assert again.read(kept) == b"kept"
    assert [one.digest for one in again.list()] == [kept.digest]


def test_a_blob_comes_back(store):
    found = store.put(
        b"abc", "text/plain", annotations={"k": "v"}, platform=AMD64, artifact_type="a/b"
    )
    assert found == Descriptor("text/plain", digest(b"abc"), 3, {"k": "v"}, AMD64, "a/b")
    assert store.read(found) == b"abc"
    assert store.path(found.digest) == store.folder / "blobs" / "sha256" / found.digest[7:]


def test_the_same_content_is_one_blob(store):
    assert store.put(b"abc", "a/b").digest == store.put(b"abc", "c/d").digest
    assert len(names(store)) == 3


def test_json_has_one_form(store):
    one = store.put_json({"b": 1, "a": "é"}, media.CONFIG, platform=Platform("linux", "arm64"))
    assert store.read(one) == '{"a":"é","b":1}'.encode()
    assert store.put_json({"a": "é", "b": 1}, media.CONFIG).digest == one.digest
    assert store.read_json(one) == {"a": "é", "b": 1}
    assert str(one.platform) == "linux/arm64"


def test_a_writer_says_what_was_written(store):
    with store.writer() as blob:
        assert blob.write(b"ab") == 2
        blob.write(b"c")
    assert (blob.digest, blob.size_bytes) == (digest(b"abc"), 3)
    assert store.path(blob.digest).read_bytes() == b"abc"


def test_a_blob_is_seen_when_it_is_whole(store):
    with store.writer() as blob:
        blob.write(b"abc")
        with pytest.raises(InvalidImage, match="is missing"):
            store.path(digest(b"abc"))
    assert store.path(digest(b"abc"))


def fail_while_writing(store):
    with store.writer() as blob:
        blob.write(b"half")
        raise RuntimeError


def test_an_error_leaves_nothing_behind(store):
    with pytest.raises(RuntimeError):
        fail_while_writing(store)
    assert names(store) == ["index.json", "oci-layout"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "layout")
        blob = store.put(b"abc", "a/b")
    finally:
        os.umask(before)
    files = (store.path(blob.digest), store.folder / "index.json", store.folder / "oci-layout")
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


@pytest.mark.parametrize("bad", ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "g" * 64])
def test_a_malformed_digest_is_no_path(store, bad):
    with pytest.raises(InvalidImage, match="expected sha256: and 64 hexadecimal digits"):
        store.path(bad)


def test_a_missing_blob_is_named(store):
    with pytest.raises(InvalidImage, match=f"blob {digest(b'x')} is missing"):
        store.read(Descriptor("a/b", digest(b"x"), 1))


def test_content_is_checked_when_it_is_read(store):
    blob = store.put(b"abc", "a/b")
    store.path(blob.digest).write_bytes(b"abd")
    with pytest.raises(InvalidImage, match=f"{blob.digest} has the digest {digest(b'abd')}"):
        store.read(blob)


def test_the_size_is_checked_before_anything_is_read(store):
    blob = store.put(b"abc", "a/b")
    store.path(blob.digest).write_bytes(b"abcd")
    with pytest.raises(InvalidImage, match="has 4 bytes, expected 3"):
        store.read(blob)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_named(store, content):
    blob = store.put(content, media.CONFIG)
    with pytest.raises(InvalidImage, match=f"blob {blob.digest} is no JSON"):
        store.read_json(blob)


def test_names_replace_each_other(store):
    old, new, other = (store.put(text, media.MANIFEST) for text in (b"1", b"2", b"3"))
    store.name(old, "3")
    store.name(other, "latest")
    store.name(new, "3")
    found = {one.annotations[media.REF_NAME]: one.digest for one in store.list()}
    assert found == {"latest": other.digest, "3": new.digest}


def test_a_name_keeps_the_other_annotations(store):
    store.name(store.put(b"1", media.MANIFEST, annotations={"k": "v"}), "3")
    assert store.list()[0].annotations == {"k": "v", media.REF_NAME: "3"}


@pytest.mark.parametrize("bad", ["", "a b", "-x", "a\n", "é", "x" * 300])
def test_a_name_is_a_tag(store, bad):
    with pytest.raises(InvalidImage, match="expected a tag such as"):
        store.name(store.put(b"1", media.MANIFEST), bad)


@pytest.mark.parametrize("good", ["3", "v1.0-rc_1", "_x", "sha256-" + "a" * 64, "acme/phi3:3"])
def test_every_tag_is_a_name(good):
    found = named(Descriptor("a/b", digest(b""), 0), good)
    assert found.annotations == {media.REF_NAME: good}


def test_offer_replaces_everything(store):
    store.name(store.put(b"1", media.MANIFEST), "old")
    new = store.put(b"2", media.MANIFEST)
    store.offer([new])
    assert store.list() == (new,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "index.json is no JSON"),
        (b"[]", "has no list of manifests"),
        (b"{}", "has no list of manifests"),
        (b'{"manifests":[1]}', "descriptor is 1"),
    ],
)
def test_a_broken_index_is_named(store, content, message):
    (store.folder / "index.json").write_bytes(content)
    with pytest.raises(InvalidImage, match=message):
        store.list()


def test_children_come_before_what_refers_to_them_and_once(store):
    index = write_index(store)
    found = [one.digest for one in store.reachable([index, index])]
    manifests = [one["digest"] for one in store.read_json(index)["manifests"]]
    assert len(found) == len(set(found)) == 8  # 3 layers, 2 configs, 2 manifests, 1 index
    assert found[-1] == index.digest
    assert [digest for digest in found if digest in manifests] == manifests
    for manifest in manifests:
        value = json.loads(store.path(manifest).read_bytes())
        below = [value["config"], *value["layers"]]
        assert all(found.index(one["digest"]) < found.index(manifest) for one in below)


def test_a_whole_layout_verifies(store):
    store.name(write_index(store), "3")
    assert store.verify() == []


def test_every_damage_is_a_sentence(store):
    manifest = write_image(store)
    store.name(manifest, "3")
    config, first, second = (
        one.digest for one in graph.children(manifest, store.read_json(manifest))
    )
    store.path(config).unlink()
    content = store.path(first).read_bytes()
    store.path(first).write_bytes(bytes(len(content)))
    store.path(second).write_bytes(b"short")
    problems = store.verify()
    assert len(problems) == 3
    assert problems[0].startswith(f"blob {config} is missing")
    zeros = hashlib.sha256(bytes(len(content))).hexdigest()
    assert problems[1] == f"blob {first} has the digest sha256:{zeros}"
    assert problems[2].startswith(f"blob {second} has 5 bytes, expected")


def test_a_broken_manifest_ends_the_search(store):
    manifest = write_image(store)
    store.name(manifest, "3")
    store.path(manifest.digest).write_bytes(b"x" * manifest.size_bytes)
    assert len(store.verify()) == 1
    assert store.verify()[0].startswith(f"blob {manifest.digest} has the digest")


def test_the_form_of_an_index():
    one = Descriptor("a/b", digest(b""), 0)
    assert encode_index([one]) == encode(
        {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [one.as_json()]}
    )
