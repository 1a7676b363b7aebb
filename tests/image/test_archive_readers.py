"""Archives and layouts as other programs read them."""

import json
import subprocess
import tarfile
from contextlib import contextmanager

import pytest

from build import destination, publish
from build.attestation import attest
from build.oci import docker_archive
from build.oci.compression import Compression
from build.oci.descriptor import Platform
from build.oci.store import Store
from tests.build.oci.layer_samples import AMD64, CONFIG, EPOCH_S, digest, write_image, write_index
from tests.image.skopeo import skopeo

pytestmark = pytest.mark.image

TAG = destination.parse_tag("acme/phi3:3")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def to(store, tmp_path):
    """Publishes an index with an SBOM as `kind`; returns skopeo's name for it."""

    def to(kind, compression=Compression.GZIP):
        index = write_index(store, compression=compression)
        sbom = attest.attach(store, index, b"{}", artifact_type="application/spdx+json")
        target = destination.parse(f"{kind}:{tmp_path}/out")
        publish.publish(store, index, [sbom], target, TAG, platform=AMD64)
        return f"{kind}:{tmp_path}/out"

    return to


def inspected(name):
    return json.loads(skopeo("inspect", name))


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("reference", ["", ":3"])
def test_skopeo_reads_an_oci_archive_with_its_tag_or_without(to, compression, reference):
    name = to("oci-archive", compression)
    found = json.loads(skopeo("inspect", "--raw", name + reference))
    assert [one["platform"]["architecture"] for one in found["manifests"]] == ["amd64", "arm64"]


def test_skopeo_reads_a_folder(to):
    found = json.loads(skopeo("inspect", "--raw", f"{to('oci')}:3"))
    assert [one["platform"]["architecture"] for one in found["manifests"]] == ["amd64", "arm64"]


def test_skopeo_finds_the_referrers_in_a_folder(to, store):
    name = to("oci")
    index = digest(skopeo("inspect", "--raw", f"{name}:3").encode())
    listed = json.loads(skopeo("inspect", "--raw", f"{name}:{index.replace(':', '-')}"))
    assert [one["artifactType"] for one in listed["manifests"]] == ["application/spdx+json"]


@pytest.mark.parametrize("compression", Compression)
def test_skopeo_reads_a_docker_archive(to, compression):
    found = inspected(to("docker-archive", compression))
    assert (found["Architecture"], len(found["Layers"])) == ("amd64", 2)


def test_skopeo_copies_a_docker_archive(to, tmp_path):
    name = to("docker-archive")
    skopeo("copy", name, f"docker-archive:{tmp_path}/copy.tar:acme/phi3:3")
    ours = docker_archive.read(tmp_path / "out")
    theirs = docker_archive.read(tmp_path / "copy.tar")
    assert theirs.diff_ids == ours.diff_ids
    assert theirs.config == ours.config


def test_every_layer_of_a_copy_unpacks(to, tmp_path):
    name = to("oci-archive", Compression.ZSTD)
    skopeo("copy", f"{name}:3", f"dir:{tmp_path}/dir")
    manifest = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    for layer in manifest["layers"]:
        path = tmp_path / "dir" / layer["digest"].removeprefix("sha256:")
        done = subprocess.run(["zstd", "-dc", path], capture_output=True)
        assert done.returncode == 0
        (tmp_path / "plain.tar").write_bytes(done.stdout)
        with tarfile.open(tmp_path / "plain.tar") as tar:
            assert {info.mtime for info in tar} == {EPOCH_S}


@contextmanager
def loaded(podman, path, name):
    """What podman says about the image that `path` gave it, which must have got `name`."""
    try:
        assert name in podman.ask("load", "--input", path)
        yield json.loads(podman.ask("image", "inspect", name))[0]
    finally:
        podman.run("rmi", "--force", name)


@pytest.mark.parametrize(
    ("kind", "host"),
    [
        ("docker-archive", "localhost"),  # podman's way with a name that has no host
        ("oci-archive", "docker.io"),
    ],
)
def test_podman_loads_an_archive(podman, to, kind, host, tmp_path):
    to(kind)
    with loaded(podman, tmp_path / "out", f"{host}/acme/phi3:3") as found:
        assert found["Config"]["Entrypoint"] == CONFIG["config"]["Entrypoint"]
        assert found["Config"]["StopSignal"] == "SIGTERM"


def test_podman_keeps_the_healthcheck(podman, to, tmp_path):
    to("docker-archive")
    with loaded(podman, tmp_path / "out", "localhost/acme/phi3:3") as found:
        assert found["Healthcheck"]["Test"] == CONFIG["config"]["Healthcheck"]["Test"]


def test_what_podman_saves_reads_back(podman, store, tmp_path):
    manifest = write_image(store, Platform.of_machine())
    docker_archive.write(store, manifest, "docker.io/acme/phi3:saved", tmp_path / "ours.tar")
    try:
        podman.ask("load", "--input", tmp_path / "ours.tar")
        words = ("save", "--format", "docker-archive", "--output", tmp_path / "theirs.tar")
        podman.ask(*words, "docker.io/acme/phi3:saved")
    finally:
        podman.run("rmi", "--force", "docker.io/acme/phi3:saved")
    ours = docker_archive.read(tmp_path / "ours.tar")
    theirs = docker_archive.read(tmp_path / "theirs.tar")
    assert theirs.diff_ids == ours.diff_ids
    assert theirs.config == ours.config
    for index in range(len(ours.layers)):
        with ours.open_layer(index) as one, theirs.open_layer(index) as other:
            assert one.read() == other.read()
