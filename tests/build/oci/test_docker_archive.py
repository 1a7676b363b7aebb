"""Docker's image archives, in the forms in which the tools write them."""

import gzip
import io
import json
import tarfile

import pytest

from build.errors import InvalidImage
from build.oci import docker_archive, graph, image, layer
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor
from build.oci.image import Image
from build.oci.store import Store
from tests.build.oci.layer_samples import (
    AMD64,
    CONFIG,
    digest,
    file,
    folder,
    hard_link,
    listing,
    normalised,
    symlink,
    tar,
    write_image,
)

LAYERS = (tar(file("a", b"1")), tar(file("b", b"2" * 3000)))


def config_of(*layers):
    diff_ids = [digest(one) for one in layers]
    value = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}, **CONFIG}
    return json.dumps(value).encode()


def manifest_of(config, *layers, **more):
    entry = {"Config": config, "RepoTags": ["acme/phi3:3"], "Layers": list(layers), **more}
    return file("manifest.json", json.dumps([entry]).encode())


def docker_20(*layers):
    """Docker up to 24: a folder a layer, a layer that comes again as a link."""
    config = config_of(*layers)
    name = f"{digest(config)[7:]}.json"
    entries, seen, names = [], {}, []
    for number, content in enumerate(layers):
        path = f"{number}{digest(content)[8:]}"
        names.append(f"{path}/layer.tar")
        twin = seen.setdefault(content, path)
        link = symlink(f"{path}/layer.tar", f"../{twin}/layer.tar")
        entries += [folder(path), file(f"{path}/VERSION", b"1.0"), file(f"{path}/json", b"{}")]
        entries.append(link if twin != path else file(f"{path}/layer.tar", content))
    repositories = file("repositories", b'{"acme/phi3":{"3":"x"}}')
    return tar(*entries, file(name, config), manifest_of(name, *names), repositories)


def docker_25(*layers, pack=bytes):
    """Docker 25 and later: an OCI layout with a manifest.json."""
    config, packed = config_of(*layers), [pack(one) for one in layers]
    blobs = {f"blobs/sha256/{digest(one)[7:]}": one for one in (config, *packed)}
    names = list(blobs)
    return tar(
        folder("blobs"),
        folder("blobs/sha256"),
        *(file(name, content) for name, content in blobs.items()),
        file("index.json", b"{}"),
        manifest_of(names[0], *names[1:], LayerSources={}),
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )


def podman(*layers):
    """podman and buildah: layers by their digest, and links to them in folders of their own."""
    config = config_of(*layers)
    names = [f"{digest(one)[7:]}.tar" for one in layers]
    links = [symlink(f"{name[:-4]}x/layer.tar", f"../{name}") for name in names]
    contents = [file(name, content) for name, content in zip(names, layers, strict=True)]
    name = f"{digest(config)[7:]}.json"
    return tar(*contents, *links, file(name, config), manifest_of(name, *names))


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "image.tar").write_bytes(content)
        return docker_archive.read(tmp_path / "image.tar")

    return read


def contents(archive):
    found = []
    for index in range(len(archive.layers)):
        with archive.open_layer(index) as stream:
            found.append(stream.read())
    return tuple(found)


@pytest.mark.parametrize("write", [docker_20, docker_25, podman])
def test_the_forms_of_the_tools(read, write):
    archive = read(write(*LAYERS))
    assert contents(archive) == LAYERS
    assert archive.diff_ids == tuple(map(digest, LAYERS))
    assert archive.config["config"] == CONFIG["config"]


def test_a_layer_that_comes_twice(read):
    assert contents(read(docker_20(*LAYERS, LAYERS[0]))) == (*LAYERS, LAYERS[0])


def test_a_hard_link_to_a_layer(read):
    config = config_of(*LAYERS)
    entries = [file("l/1.tar", LAYERS[0]), hard_link("2.tar", "l/1.tar"), file("c.json", config)]
    archive = read(tar(*entries, manifest_of("c.json", "2.tar", "./l/1.tar")))
    assert contents(archive) == (LAYERS[0], LAYERS[0])


def test_layers_come_as_they_are_stored(read):
    archive = read(docker_25(*LAYERS, pack=lambda one: gzip.compress(one, mtime=0)))
    assert contents(archive) == tuple(gzip.compress(one, mtime=0) for one in LAYERS)


@pytest.mark.parametrize("write", [docker_20, docker_25, podman])
def test_a_layer_can_be_normalised(read, write, store):
    archive = read(write(*LAYERS))
    with archive.open_layer(1) as stream:
        found = layer.normalise(
            stream,
            store,
            epoch_s=1,
            compression=Compression.GZIP,
            diff_id=archive.diff_ids[1],
        )
    assert listing(store, found) == [("b", b"2" * 3000)]


CONFIG_JSON = config_of(*LAYERS)
PARTS = (file("c.json", CONFIG_JSON), file("1.tar", LAYERS[0]), file("2.tar", LAYERS[1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "archive image.tar is no whole tar archive"),
        (b"no tar", "archive image.tar is no whole tar archive"),
        (gzip.compress(docker_20(*LAYERS)), "archive image.tar is no whole tar archive"),
        (docker_20(*LAYERS)[:4000], "archive image.tar is no whole tar archive"),
        (tar(file("a")), "archive image.tar lacks the file 'manifest.json'"),
        (tar(file("manifest.json", b"{")), "manifest.json of archive image.tar is no JSON"),
        (tar(file("manifest.json", b"{}")), "holds no list, expected one image"),
        (tar(file("manifest.json", b"[]")), "holds 0 images, expected one image"),
        (tar(file("manifest.json", b"[{},{}]")), "holds 2 images, expected one image"),
        (tar(file("manifest.json", b"[{}]")), "expected Config and Layers"),
        (tar(file("manifest.json", b"[1]")), "expected Config and Layers"),
        (tar(*PARTS, manifest_of(None, "1.tar")), "lacks the file None"),
        (tar(*PARTS, manifest_of("c.json", "1.tar", "3.tar")), "lacks the file '3.tar'"),
        (tar(*PARTS, manifest_of("c.json", "1.tar", 3)), "lacks the file 3"),
        (tar(*PARTS, manifest_of("c.json", "1.tar")), "is .*, expected 1 digests"),
        (tar(*PARTS, manifest_of("1.tar", "1.tar")), "config 1.tar of .* is no JSON"),
        (tar(file("../manifest.json", b"[]")), "expected one that stays inside"),
        (
            tar(symlink("c.json", "/etc/passwd"), manifest_of("c.json", "1.tar")),
            "lacks the file 'c.json'",
        ),
        (
            tar(symlink("a", "b"), symlink("b", "a"), manifest_of("a", "1.tar")),
            "lacks the file 'a'",
        ),
        (
            tar(symlink("a", "../../x"), manifest_of("a", "1.tar")),
            "lacks the file 'a'",
        ),
        (tar(folder("c.json"), manifest_of("c.json")), "lacks the file 'c.json'"),
        (tar(file("c.json", b"[]"), manifest_of("c.json")), "config c.json .* is no JSON object"),
        (
            tar(file("a" * 64 + ".json", CONFIG_JSON), manifest_of("a" * 64 + ".json")),
            "config a{64}.json of archive image.tar has the digest sha256:",
        ),
        (
            tar(file("blobs/sha256/" + "a" * 64, b"{}"), manifest_of("blobs/sha256/" + "a" * 64)),
            "has the digest sha256:",
        ),
    ],
)
def test_what_is_malformed_is_named(read, content, message):
    with pytest.raises(InvalidImage, match=message):
        read(content)


def test_a_manifest_of_any_size_is_not_read(read):
    with pytest.raises(InvalidImage, match="has 16777217 bytes, expected a small file"):
        read(tar(file("manifest.json", bytes(16 * 1024 * 1024 + 1))))


@pytest.mark.parametrize("compression", Compression)
def test_what_is_written_reads_back(store, tmp_path, compression):
    manifest = write_image(store, compression=compression)
    docker_archive.write(store, manifest, "acme/phi3:3", tmp_path / "out.tar")
    archive = docker_archive.read(tmp_path / "out.tar")
    expected = image.read(store, manifest)
    assert archive.diff_ids == tuple(one.diff_id for one in expected.layers)
    assert tuple(map(digest, contents(archive))) == archive.diff_ids
    assert archive.config["config"] == CONFIG["config"]  # its Healthcheck included


def test_the_form_of_what_is_written(store, tmp_path):
    manifest = write_image(store)
    config = graph.children(manifest, store.read_json(manifest))[0]
    docker_archive.write(store, manifest, "acme/phi3:3", tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        [entry] = json.load(archive.extractfile("manifest.json"))
        members = archive.getmembers()
        assert archive.extractfile(entry["Config"]).read() == store.read(config)
    assert entry["Config"] == f"{config.digest[7:]}.json"
    assert entry["RepoTags"] == ["acme/phi3:3"]
    assert [one.name for one in members] == ["manifest.json", entry["Config"], *entry["Layers"]]
    assert {(i.mtime, i.uid, i.mode) for i in members} == {(0, 0, 0o644)}


def test_the_compression_of_the_store_does_not_show(tmp_path):
    found = set()
    for kind in Compression:
        store = Store(tmp_path / kind.value)
        out = tmp_path / f"{kind.value}.tar"
        docker_archive.write(store, write_image(store, compression=kind), "a:1", out)
        found.add(out.read_bytes())
    assert len(found) == 1


def test_a_layer_that_comes_twice_is_written_once(store, tmp_path):
    one = normalised(store, LAYERS[0], Compression.GZIP)
    manifest = image.write(Image(AMD64, CONFIG, (one, one)), store, epoch_s=0)
    docker_archive.write(store, manifest, "a:1", tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert len(archive.getnames()) == 3
    assert len(contents(docker_archive.read(tmp_path / "out.tar"))) == 2


def test_a_layer_that_is_not_what_the_config_says_is_named(store, tmp_path):
    value = store.read_json(write_image(store))
    config = store.read_json(Descriptor.from_json(value["config"]))
    config["rootfs"]["diff_ids"].reverse()
    value["config"] = store.put_json(config, value["config"]["mediaType"]).as_json()
    manifest = store.put_json(value, value["mediaType"])
    with pytest.raises(InvalidImage, match=r"holds sha256:.*, expected sha256:"):
        docker_archive.write(store, manifest, "a:1", tmp_path / "out.tar")


def test_a_stream_of_a_layer_needs_no_open_archive(read):
    archive = read(docker_20(*LAYERS))
    stream = archive.open_layer(0)
    assert isinstance(stream, io.BufferedReader)
    assert stream.read() == LAYERS[0]
    stream.close()
