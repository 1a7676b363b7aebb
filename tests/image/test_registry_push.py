"""A push to a real registry, seen with skopeo's eyes."""

import base64
import json
import os
import subprocess
import sys

import pytest

from build import destination, publish
from build.attestation import attest
from build.errors import PublishFailed
from build.oci import media, referrers
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor
from build.oci.store import Store
from tests.build.oci.layer_samples import write_image, write_index
from tests.image import registry_server
from tests.image.skopeo import skopeo

pytestmark = pytest.mark.image

TAG = destination.parse_tag("acme/phi3:3")
SBOM = "application/spdx+json"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def server(tmp_path):
    with registry_server.running(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def guarded(tmp_path):
    """A registry that wants a password."""
    with registry_server.running(tmp_path / "registry", with_password=True) as server:
        yield server


def raw(server, reference: str) -> bytes:
    """A manifest as the registry keeps it."""
    name = f"docker://{server.host}/acme/phi3{reference}"
    return skopeo("inspect", "--raw", "--tls-verify=false", name).encode()


def push(server, store, index, artifacts=(), tag=TAG):
    target = destination.parse(f"{server.host}/acme/phi3")
    return publish.publish(store, index, artifacts, target, tag)


@pytest.mark.parametrize("compression", Compression)
def test_what_is_pulled_is_what_was_pushed(server, store, tmp_path, compression):
    index = write_index(store, compression=compression)
    where = push(server, store, index)
    assert where == f"{server.host}/acme/phi3@{index.digest}"
    assert raw(server, ":3") == raw(server, f"@{index.digest}") == store.read(index)
    words = ("copy", "--all", "--src-tls-verify=false", "--preserve-digests")
    skopeo(*words, f"docker://{server.host}/acme/phi3:3", f"oci:{tmp_path}/pulled:3")
    pulled = Store(tmp_path / "pulled")
    assert [one.digest for one in pulled.list()] == [index.digest]
    assert pulled.verify() == []
    assert {b.digest for b in pulled.reachable([index])} == {
        b.digest for b in store.reachable([index])
    }


def test_each_architecture_can_be_asked_for(server, store):
    push(server, store, write_index(store))
    for arch in ("amd64", "arm64"):
        words = ("--override-arch", arch, "inspect", "--tls-verify=false")
        found = json.loads(skopeo(*words, f"docker://{server.host}/acme/phi3:3"))
        assert (found["Os"], found["Architecture"]) == ("linux", arch)


def test_referrers_stand_in_a_list_where_the_registry_keeps_none(server, store):
    index = write_index(store)
    made = [
        attest.attach(store, index, text, artifact_type=SBOM) for text in (b'{"a":1}', b'{"b":2}')
    ]
    push(server, store, index, made[:1])
    push(server, store, index, made[1:])
    listed = json.loads(raw(server, f":{referrers.tag_of(index)}"))
    found = [Descriptor.from_json(one) for one in listed["manifests"]]
    assert found == made
    for one in made:
        assert raw(server, f"@{one.digest}") == store.read(one)


def test_nothing_is_sent_twice(server, store):
    index = write_index(store)
    push(server, store, index)
    uploads = len(server.requests("POST"))
    push(server, store, index)
    assert len(server.requests("POST")) == uploads == 5  # three layers and two configs


def test_a_new_tag_sends_the_new_layers_only(server, store):
    push(server, store, write_image(store))
    before = len(server.requests("POST"))
    push(server, store, write_index(store), tag=destination.parse_tag("acme/phi3:4"))
    assert len(server.requests("POST")) - before == 2  # arm64's own layer and its config


def test_the_check_leaves_neither_a_blob_nor_a_tag(server, tmp_path):
    publish.check(destination.parse(f"{server.host}/acme/phi3"), tag=TAG)
    data = tmp_path / "registry" / "data"
    assert not [path for path in data.rglob("data") if path.is_file()]
    assert not list(data.rglob("_manifests"))
    assert len(server.requests("DELETE")) == 1


def log_in(tmp_path, monkeypatch, server, password):
    pair = base64.b64encode(f"{registry_server.USER}:{password}".encode()).decode()
    (tmp_path / "docker").mkdir()
    config = {"auths": {server.host: {"auth": pair}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(config))
    monkeypatch.setitem(os.environ, "DOCKER_CONFIG", str(tmp_path / "docker"))


def test_a_password_lets_us_in(guarded, store, tmp_path, monkeypatch):
    log_in(tmp_path, monkeypatch, guarded, registry_server.PASSWORD)
    publish.check(destination.parse(f"{guarded.host}/acme/phi3"))
    index = write_index(store)
    push(guarded, store, index)
    user = f"{registry_server.USER}:{registry_server.PASSWORD}"
    name = f"docker://{guarded.host}/acme/phi3:3"
    found = skopeo("inspect", "--raw", "--tls-verify=false", "--creds", user, name)
    assert found.encode() == store.read(index)


@pytest.mark.parametrize("password", ["", "wrong word"])
def test_no_password_or_a_wrong_one_keeps_us_out(guarded, store, tmp_path, monkeypatch, password):
    if password:
        log_in(tmp_path, monkeypatch, guarded, password)
    with pytest.raises(PublishFailed) as caught:
        push(guarded, store, write_index(store))
    assert "answered 401" in str(caught.value)
    assert f"log in with `docker login {guarded.host}`" in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert not guarded.requests("PUT")


def test_a_registry_that_went_away(server, store, monkeypatch):
    index = write_index(store)
    monkeypatch.setattr("build.registry.session._PAUSES_S", (0.01, 0.01, 0.01))
    target = destination.parse("127.0.0.1:1/acme/phi3")
    with pytest.raises(PublishFailed, match=r"upload of blob .*: 127.0.0.1:1 cannot be reached"):
        publish.publish(store, index, (), target, TAG)


def test_an_upload_of_hundreds_of_megabytes_takes_no_memory(server, store, tmp_path):
    """In a process of its own; `ru_maxrss` would count what its parent took, VmHWM does not."""
    size_bytes = 300 * 1024 * 1024
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(size_bytes)
    script = """
import sys
from pathlib import Path
from build import destination
from build.oci.descriptor import Descriptor
from build.progress import Progress
from build.registry.registry import Registry
from build.registry.session import Session

host, path, digest, size = sys.argv[1:]
registry = Registry(Session(destination.parse(f"{host}/acme/phi3")), Progress(enabled=False))
registry.push_blob(Descriptor("application/octet-stream", digest, int(size)), Path(path))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    with store.writer() as blob, (tmp_path / "weights").open("rb") as file:
        while chunk := file.read(1024 * 1024):
            blob.write(chunk)
    words = (server.host, tmp_path / "weights", blob.digest, blob.size_bytes)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    peak_bytes = int(done.stdout) * 1024
    assert peak_bytes < 150 * 1024 * 1024
    assert len(server.requests("PUT")) == 1


def test_the_media_types_are_those_of_the_store(server, store):
    index = write_index(store, compression=Compression.ZSTD)
    push(server, store, index)
    value = json.loads(raw(server, ":3"))
    assert value["mediaType"] == media.INDEX
    child = json.loads(raw(server, f"@{value['manifests'][0]['digest']}"))
    assert {one["mediaType"] for one in child["layers"]} == {media.LAYER_ZSTD}
