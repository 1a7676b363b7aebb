"""Where a finished image goes."""

import json
import tarfile

import pytest

from build import destination, publish
from build.destination import Reference
from build.errors import InvalidImage, OutputRefused, PublishFailed, UsageError
from build.oci import docker_archive, media, referrers
from build.oci.descriptor import Platform
from build.oci.store import Store
from tests.build.oci.layer_samples import AMD64, ARM64, artifact, write_image, write_index
from tests.build.registry import registry_stub

TAG = destination.parse_tag("acme/phi3:3")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def index(store):
    return write_index(store)


@pytest.fixture
def to(store, index, tmp_path, monkeypatch):
    """Publishes to `text`, in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def to(text, artifacts=(), tag=TAG, **options):
        return publish.publish(store, index, artifacts, destination.parse(text), tag, **options)

    return to


def machine(monkeypatch, platform):
    monkeypatch.setattr(Platform, "of_machine", classmethod(lambda cls: platform))


def test_a_folder_names_the_tag_and_the_referrers(to, store, index, tmp_path):
    sbom = artifact(store, index)
    assert to("oci:out", [sbom]) == "out"
    found = Store(tmp_path / "out")
    image, listed = found.list()
    assert image.digest == index.digest
    assert image.annotations == {
        media.REF_NAME: "3",
        media.CONTAINERD_NAME: "docker.io/acme/phi3:3",
    }
    assert listed.annotations == {media.REF_NAME: referrers.tag_of(index)}
    assert referrers.listed(found.read_json(listed), "it") == (sbom,)
    assert found.verify() == []


def test_artifacts_about_several_subjects_have_a_list_each(to, store, index, tmp_path):
    one = write_image(store)
    to("oci:out", [artifact(store, index), artifact(store, one)])
    names = [found.annotations[media.REF_NAME] for found in Store(tmp_path / "out").list()]
    assert names == ["3", referrers.tag_of(index), referrers.tag_of(one)]


def test_an_archive_holds_the_image_alone_so_that_it_can_be_loaded(to, store, index, tmp_path):
    assert to("oci-archive:out.tar", [artifact(store, index)]) == "out.tar"
    with tarfile.open(tmp_path / "out.tar") as archive:
        [offered] = json.load(archive.extractfile("index.json"))["manifests"]
    assert offered["digest"] == index.digest
    assert offered["annotations"][media.REF_NAME] == "3"


def test_the_same_image_gives_the_same_archive(to, tmp_path):
    for kind in ("oci-archive", "docker-archive"):
        for name in ("a", "b"):
            to(f"{kind}:{kind}-{name}.tar")
        first, second = (tmp_path / f"{kind}-{name}.tar" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def platform_of(path):
    config = docker_archive.read(path).config
    return Platform(config["os"], config["architecture"])


@pytest.mark.parametrize("here", [AMD64, ARM64])
def test_a_docker_archive_holds_the_machines_platform(to, tmp_path, monkeypatch, here):
    machine(monkeypatch, here)
    assert to("docker-archive:out.tar") == "out.tar"
    assert platform_of(tmp_path / "out.tar") == here
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert json.load(archive.extractfile("manifest.json"))[0]["RepoTags"] == ["acme/phi3:3"]


def test_or_the_one_that_was_asked_for(to, tmp_path, monkeypatch):
    machine(monkeypatch, AMD64)
    to("docker-archive:out.tar", platform=ARM64)
    assert platform_of(tmp_path / "out.tar") == ARM64


def test_or_the_only_one(store, monkeypatch):
    machine(monkeypatch, Platform("linux", "riscv64"))
    alone = write_index(store, ARM64)
    assert publish.choose(store, alone).platform == ARM64


def test_of_several_one_must_fit(to, tmp_path, monkeypatch):
    machine(monkeypatch, Platform("linux", "riscv64"))
    with pytest.raises(UsageError) as caught:
        to("docker-archive:out.tar")
    assert str(caught.value) == (
        "platform is linux/riscv64, expected one that the image has: linux/amd64, linux/arm64"
    )
    assert not (tmp_path / "out.tar").exists()


def test_what_was_asked_for_must_be_there_even_if_there_is_one(store):
    alone = write_index(store, ARM64)
    with pytest.raises(UsageError, match="platform is linux/amd64, expected one"):
        publish.choose(store, alone, AMD64)


def test_a_manifest_is_its_own_choice(store):
    alone = write_image(store, ARM64)
    assert publish.choose(store, alone) is alone


def test_local_loads_the_machines_platform(to, store, monkeypatch):
    machine(monkeypatch, ARM64)
    loaded = []

    def load(path):
        loaded.append((path, platform_of(path)))

    assert to("local", load=load) == "acme/phi3:3"
    [(path, platform)] = loaded
    assert platform == ARM64
    assert not path.exists()
    assert not path.parent.exists()


def test_local_needs_somebody_to_load(to):
    with pytest.raises(UsageError, match="expected a container tool that can load an image"):
        to("local")


def test_a_loader_that_fails_is_heard(to, store):
    def load(path):
        raise PublishFailed("the tool says no")

    with pytest.raises(PublishFailed, match="the tool says no"):
        to("local", load=load)
    assert not list(store.folder.glob(".load-*"))


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_what_is_there_is_replaced_by_force_alone(to, tmp_path, monkeypatch, kind):
    machine(monkeypatch, AMD64)
    to(f"{kind}:out")
    before = (tmp_path / "out").stat().st_ino
    with pytest.raises(OutputRefused, match="--force replaces it"):
        to(f"{kind}:out")
    assert (tmp_path / "out").stat().st_ino == before
    to(f"{kind}:out", force=True)
    assert (tmp_path / "out").stat().st_ino != before


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_a_damaged_store_leaves_nothing(to, store, index, tmp_path, monkeypatch, kind):
    machine(monkeypatch, AMD64)
    manifest = store.read_json(index)["manifests"][0]["digest"]
    layer = json.loads(store.path(manifest).read_bytes())["layers"][0]["digest"]
    store.path(layer).unlink()
    with pytest.raises(InvalidImage, match=f"blob {layer} is missing"):
        to(f"{kind}:out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


@pytest.mark.parametrize("text", ["oci:out", "oci-archive:out", "docker-archive:out"])
def test_the_check_refuses_what_publishing_would(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    target = destination.parse(text)
    publish.check(target)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(OutputRefused, match="it is left as it is"):
        publish.check(target, force=True)


def test_the_check_of_the_machine_itself():
    publish.check(destination.parse("local"))


def test_the_check_of_a_registry_begins_an_upload_and_gives_it_up():
    with registry_stub.running() as stub:
        publish.check(stub.target, tag=TAG)
    assert [one.method for one in stub.seen] == ["POST", "DELETE"]


def test_the_check_of_a_registry_that_does_not_let_us_in():
    with (
        registry_stub.running(auth="basic") as stub,
        pytest.raises(PublishFailed, match=r"check: .* 401 .*: log in with `docker login 127"),
    ):
        publish.check(stub.target)
    assert [one.method for one in stub.seen] == ["POST"]


def test_a_registry_gets_the_tag_and_the_referrers(to, store, index):
    sbom = artifact(store, index)
    with registry_stub.running() as stub:
        where = to(f"{stub.host}/acme/phi3", [sbom])
    assert where == f"{stub.host}/acme/phi3@{index.digest}"
    assert stub.manifests["3"] == (media.INDEX, store.read(index))
    assert sbom.digest in stub.manifests


def test_the_destination_may_repeat_the_tag(to):
    with registry_stub.running() as stub:
        to(f"{stub.host}/acme/phi3:3")
    assert "3" in stub.manifests


def test_two_tags_are_one_too_many(to):
    target = Reference("127.0.0.1:9", "acme/phi3", "4")
    with pytest.raises(UsageError, match="tag is '3', expected '4' as in the destination"):
        to("127.0.0.1:9/acme/phi3:4")
    with pytest.raises(UsageError, match="tag is '3', expected '4'"):
        publish.check(target, tag=TAG)
