"""The order of a push, and what is left where one breaks off."""

import json

import pytest

from build.errors import InvalidImage, PublishFailed
from build.oci import media, referrers
from build.oci.store import Store
from tests.build.oci.layer_samples import artifact, write_image, write_index
from tests.build.registry import registry_stub
from tests.build.registry.registry_stub import Failures, Reply, push_to


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def index(store):
    return write_index(store)


def test_everything_arrives_byte_for_byte(store, index):
    with registry_stub.running() as stub:
        where = push_to(stub, store, index)
    assert where == f"{stub.host}/acme/phi3@{index.digest}"
    for blob in store.reachable([index]):
        if blob.media_type in (media.INDEX, media.MANIFEST):
            assert stub.manifests[blob.digest] == (blob.media_type, store.read(blob))
        else:
            assert stub.blobs[blob.digest] == store.read(blob)
    assert stub.manifests["3"] == stub.manifests[index.digest]


def test_children_come_first_and_the_tag_last(store, index):
    sbom = artifact(store, index)
    with registry_stub.running() as stub:
        push_to(stub, store, index, [sbom])
    manifests = [one["digest"] for one in store.read_json(index)["manifests"]]
    names = [one.path.rpartition("/")[2] for one in stub.heard("PUT", "/manifests/")]
    assert names == [*manifests, index.digest, sbom.digest, referrers.tag_of(index), "3"]


def test_nothing_is_sent_twice(store, index):
    with registry_stub.running() as stub:
        push_to(stub, store, index)
        sent = len(stub.heard("POST"))
        push_to(stub, store, index)
    blobs = [b for b in store.reachable([index]) if "json" not in b.media_type]
    assert sent == len(blobs) + 2  # the layers and two configs
    assert len(stub.heard("POST")) == sent


def test_a_single_image_can_be_pushed(store):
    manifest = write_image(store)
    with registry_stub.running() as stub:
        push_to(stub, store, manifest)
    assert stub.manifests["3"] == (media.MANIFEST, store.read(manifest))


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/blobs/"), ("POST", "/blobs/"), ("PUT", "/blobs/"), ("PUT", "/manifests/sha256:")],
)
def test_a_push_that_fails_leaves_the_tag(store, index, method, path):
    with registry_stub.running() as stub:
        push_to(stub, store, write_image(store))
        before = stub.manifests["3"]
        stub.blobs.clear()
        stub.script = Failures(method, path, Reply(400))
        with pytest.raises(PublishFailed, match="answered 400"):
            push_to(stub, store, index)
    assert stub.manifests["3"] == before


def test_referrers_that_fail_leave_the_tag(store, index):
    sbom = artifact(store, index)
    with registry_stub.running() as stub:
        stub.script = Failures("PUT", f"/manifests/{sbom.digest}", Reply(400))
        with pytest.raises(PublishFailed, match=f"upload of manifest {sbom.digest}: .* 400"):
            push_to(stub, store, index, [sbom])
    assert "3" not in stub.manifests


def test_a_registry_that_lists_referrers_needs_no_list(store, index):
    with registry_stub.running(lists_referrers=True) as stub:
        push_to(stub, store, index, [artifact(store, index)])
    assert not stub.heard("", referrers.tag_of(index))


def test_a_registry_that_does_not_gets_a_list(store, index):
    sbom = artifact(store, index)
    with registry_stub.running() as stub:
        push_to(stub, store, index, [sbom])
    media_type, content = stub.manifests[referrers.tag_of(index)]
    assert media_type == media.INDEX
    assert json.loads(content)["manifests"] == [sbom.as_json()]


def test_the_list_keeps_what_was_in_it(store, index):
    one, two = artifact(store, index, "1"), artifact(store, index, "2")
    with registry_stub.running() as stub:
        push_to(stub, store, index, [one])
        push_to(stub, store, index, [two])
        push_to(stub, store, index, [one, two])
    content = json.loads(stub.manifests[referrers.tag_of(index)][1])
    assert [found["digest"] for found in content["manifests"]] == [one.digest, two.digest]


def test_every_subject_has_a_list(store, index):
    image = write_image(store)
    about = [artifact(store, index, "1"), artifact(store, image, "2")]
    with registry_stub.running() as stub:
        push_to(stub, store, index, about)
    assert referrers.tag_of(index) in stub.manifests
    assert referrers.tag_of(image) in stub.manifests


@pytest.mark.parametrize("content", [b'{"config":{}}', b"[]", b'{"manifests":[3]}'])
def test_a_list_that_is_none_stops_the_push(store, index, content):
    with registry_stub.running() as stub:
        stub.manifests[referrers.tag_of(index)] = (media.INDEX, content)
        with pytest.raises(PublishFailed, match=r"list of referrers in .*: delete that tag"):
            push_to(stub, store, index, [artifact(store, index)])
        assert stub.manifests[referrers.tag_of(index)][1] == content
    assert "3" not in stub.manifests


def test_a_store_that_lacks_something(store, index):
    manifest = store.read_json(index)["manifests"][1]["digest"]
    store.path(manifest).unlink()
    with registry_stub.running() as stub, pytest.raises(InvalidImage, match="is missing"):
        push_to(stub, store, index)
    assert "3" not in stub.manifests


def test_an_artifact_about_nothing_is_refused(store, index):
    with registry_stub.running() as stub, pytest.raises(InvalidImage, match="is about nothing"):
        push_to(stub, store, index, [write_image(store)])
