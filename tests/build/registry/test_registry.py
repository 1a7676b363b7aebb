"""Blobs and manifests go into a repository."""

import json
import tracemalloc

import pytest

from build.errors import PublishFailed
from build.oci import media
from build.oci.descriptor import Descriptor
from build.progress import Progress
from build.registry.registry import Registry
from tests.build.oci.layer_samples import digest
from tests.build.registry import registry_stub
from tests.build.registry.registry_stub import Failures, Reply, client, session, swallowing

CONTENT = b"abc" * 1000
BLOB = Descriptor("application/octet-stream", digest(CONTENT), len(CONTENT))
INDEX = json.dumps({"schemaVersion": 2, "manifests": []}, indent=3).encode()
MANIFEST = Descriptor(media.INDEX, digest(INDEX), len(INDEX))


@pytest.fixture
def stub():
    with registry_stub.running() as stub:
        yield stub


@pytest.fixture
def path(tmp_path):
    (tmp_path / "blob").write_bytes(CONTENT)
    return tmp_path / "blob"


def test_a_blob_is_uploaded_in_two_steps(stub, path):
    client(stub).push_blob(BLOB, path)
    assert stub.blobs == {BLOB.digest: CONTENT}
    assert [one.method for one in stub.seen] == ["HEAD", "POST", "PUT"]
    put = stub.heard("PUT")[0]
    assert put.headers["Content-Length"] == str(len(CONTENT))
    assert put.headers["Content-Type"] == "application/octet-stream"
    assert put.path == (
        f"/v2/acme/phi3/blobs/uploads/1?_state=x&digest={BLOB.digest.replace(':', '%3A')}"
    )


def test_a_blob_that_is_there_is_not_sent(stub, path):
    stub.blobs[BLOB.digest] = CONTENT
    client(stub).push_blob(BLOB, path)
    assert [one.method for one in stub.seen] == ["HEAD"]


def test_an_empty_blob_is_uploaded(stub, path):
    path.write_bytes(b"")
    client(stub).push_blob(Descriptor("a/b", digest(b""), 0), path)
    assert stub.blobs == {digest(b""): b""}


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/elsewhere/1", "/elsewhere/1?digest="),
        ("/elsewhere/1?a=b&c=d%3D", "/elsewhere/1?a=b&c=d%3D&digest="),
        ("1", "/v2/acme/phi3/blobs/uploads/1?digest="),
        ("http://{host}/absolute", "/absolute?digest="),
    ],
)
def test_uploads_go_where_the_registry_says(stub, path, location, asked):
    place = {"Location": location.format(host=stub.host)}
    posts, puts = Failures("POST", "", Reply(202, place)), Failures("PUT", "", Reply(201))
    stub.script = lambda seen: posts(seen) or puts(seen)
    client(stub).push_blob(BLOB, path)
    assert stub.heard("PUT")[0].path.startswith(asked)


def test_an_upload_that_fails_begins_anew(stub, path):
    stub.script = Failures("PUT", "", Reply(503), Reply(0), Reply(500))
    client(stub).push_blob(BLOB, path)
    assert stub.blobs == {BLOB.digest: CONTENT}
    assert [one.method for one in stub.seen] == ["HEAD", *["POST", "PUT"] * 4]
    assert {one.body for one in stub.heard("PUT")} == {CONTENT}


def test_a_damaged_blob_is_refused_by_the_registry(stub, path):
    path.write_bytes(b"xyz" * 1000)
    with pytest.raises(PublishFailed) as caught:
        client(stub).push_blob(BLOB, path)
    assert str(caught.value) == (
        f"upload of blob {BLOB.digest}: {stub.host}/acme/phi3 answered 400 (DIGEST_INVALID: other)"
    )


def test_a_blob_is_not_held_in_memory(tmp_path):
    size_bytes = 100 * 1024 * 1024
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size_bytes)
    with swallowing() as stub:
        registry = client(stub)
        tracemalloc.start()
        try:
            registry.push_blob(Descriptor("a/b", digest(b"big"), size_bytes), tmp_path / "big")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert stub.swallowed_bytes == size_bytes
    assert peak_bytes < 10 * 1024 * 1024


def test_progress_is_shown(stub, path, capsys):
    Registry(session(stub), Progress(enabled=True, threshold_bytes=0)).push_blob(BLOB, path)
    assert BLOB.digest[:19] in capsys.readouterr().err


def test_a_manifest_goes_in_byte_for_byte(stub):
    assert client(stub).push_manifest(MANIFEST, INDEX) is False
    assert stub.manifests[MANIFEST.digest] == (media.INDEX, INDEX)
    assert stub.heard("PUT")[0].path == f"/v2/acme/phi3/manifests/{MANIFEST.digest}"


def test_a_manifest_goes_in_under_a_tag(stub):
    client(stub).push_manifest(MANIFEST, INDEX, "3")
    assert stub.manifests["3"] == (media.INDEX, INDEX)


def test_the_registry_says_whether_it_lists_a_referrer(stub):
    stub.lists_referrers = True
    value = {"manifests": [], "subject": {"digest": BLOB.digest}}
    content = json.dumps(value).encode()
    about = Descriptor(media.INDEX, digest(content), len(content))
    assert client(stub).push_manifest(about, content) is True
    assert client(stub).push_manifest(MANIFEST, INDEX) is False


def test_a_registry_that_changes_a_manifest_is_found_out(stub):
    other = {"Docker-Content-Digest": digest(b"other")}
    stub.script = Failures("PUT", "", Reply(201, other))
    with pytest.raises(
        PublishFailed, match=f"stored {digest(b'other')}, expected {MANIFEST.digest}"
    ):
        client(stub).push_manifest(MANIFEST, INDEX)


def test_a_manifest_is_sent_again_where_that_may_help(stub):
    stub.script = Failures("PUT", "", Reply(502), Reply(429))
    client(stub).push_manifest(MANIFEST, INDEX)
    assert len(stub.heard("PUT")) == 3


def test_an_index_is_pulled(stub):
    stub.manifests["x"] = (media.INDEX, INDEX)
    assert client(stub).pull_index("x") == json.loads(INDEX)
    assert stub.seen[0].headers["Accept"] == media.INDEX


def test_an_index_that_is_not_there_is_none(stub):
    assert client(stub).pull_index("x") is None


def test_an_index_that_is_no_json_is_named(stub):
    stub.manifests["x"] = (media.INDEX, b"<html>")
    with pytest.raises(PublishFailed, match=f"index x: {stub.host}/acme/phi3 answered no JSON"):
        client(stub).pull_index("x")


def test_a_check_leaves_nothing(stub):
    client(stub).check()
    assert [one.method for one in stub.seen] == ["POST", "DELETE"]
    assert stub.blobs == stub.manifests == {}


@pytest.mark.parametrize("status", [404, 405, 400])
def test_a_registry_need_not_know_how_to_give_an_upload_up(stub, status):
    stub.script = Failures("DELETE", "", Reply(status))
    client(stub).check()


@pytest.mark.parametrize("status", [403, 404])
def test_a_check_finds_a_refusal(stub, status):
    stub.script = Failures("POST", "", Reply(status))
    with pytest.raises(PublishFailed, match=f"check: {stub.host}/acme/phi3 answered {status}"):
        client(stub).check()
