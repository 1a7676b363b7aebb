"""Runtime and bundle become an image: from archives as container tools write them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from build import assemble, bundle
from build.assemble import Form
from build.errors import InvalidImage
from build.oci import image, layer
from build.oci.compression import Compression
from build.oci.descriptor import Platform
from build.oci.store import Store
from edge.bundle import Bundle

EPOCH_S = 1_700_000_000
CONFIG = {
    "Env": ["PATH=/usr/bin"],
    "Entrypoint": ["/usr/bin/python3", "-m", "edge"],
    "User": "65532:65532",
    "ExposedPorts": {"8080/tcp": {}},
    "StopSignal": "SIGTERM",
    "Healthcheck": {"Test": ["CMD", "probe"]},
    "Labels": {"io.buildah.version": "1.28.2"},
    "Hostname": "4f8a",
}


@pytest.fixture(scope="module")
def sealed(demo_model, tmp_path_factory) -> Bundle:
    """A bundle of the demo model."""
    from build.__main__ import main

    folder = tmp_path_factory.mktemp("sealed") / "bundle"
    assert main(["export", str(demo_model), "--out", str(folder), "--skip-trial"]) == 0
    return bundle.open_(folder)


def layer_tar(mtime: int, **files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"app/{name}")
            info.size, info.mtime = len(text), mtime
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def runtime(path: Path, *layers: bytes, arch: str = "amd64") -> Path:
    """A docker-archive of `layers`, as `podman save` writes it."""
    digests = [hashlib.sha256(content).hexdigest() for content in layers]
    config = {
        "architecture": arch,
        "os": "linux",
        "config": CONFIG,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    names = [f"{digest}.tar" for digest in digests]
    manifest = [{"Config": "config.json", "RepoTags": ["x:y"], "Layers": names}]
    members = {"manifest.json": json.dumps(manifest), "config.json": json.dumps(config)}
    contents = {name: text.encode() for name, text in members.items()} | dict(
        zip(names, layers, strict=True)
    )
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def built(tmp_path: Path, sealed: Bundle, *layers: bytes, form: Form | None = None, **labels: str):
    store = Store(tmp_path / "layout")
    form = form or Form(EPOCH_S)
    model = assemble.weights(sealed, store, form)
    archive = runtime(tmp_path / "runtime.tar", *(layers or (layer_tar(1, a="x"),)))
    platform = Platform("linux", "amd64")
    return store, assemble.assemble(archive, platform, model, store, form, labels)


def test_the_model_is_the_last_layer_below_model(tmp_path, sealed):
    store, manifest = built(tmp_path, sealed)
    last = image.read(store, manifest).layers[-1]
    names = {info.name.rstrip("/") for info, _ in layer.entries(store, last.descriptor)}
    assert {f"model/{file.path}" for file in sealed.manifest.files} <= names
    assert "model/manifest.json" in names


def test_what_runs_is_kept_and_what_the_tool_added_is_not(tmp_path, sealed):
    store, manifest = built(tmp_path, sealed, **{"phial.version": "1"})
    found = image.read(store, manifest).config["config"]
    for key in ("Env", "Entrypoint", "User", "ExposedPorts", "StopSignal", "Healthcheck"):
        assert found[key] == CONFIG[key]
    assert found["Labels"] == {"phial.version": "1"}
    assert "Hostname" not in found


def test_the_labels_are_annotations_of_the_manifest_too(tmp_path, sealed):
    store, manifest = built(tmp_path, sealed, **{"phial.version": "1"})
    assert store.read_json(manifest)["annotations"] == {"phial.version": "1"}


@pytest.mark.parametrize("compression", Compression)
def test_two_builds_at_other_times_give_the_same_digest(tmp_path, sealed, compression):
    digests = []
    for name, mtime in (("first", 1), ("second", 99)):
        (tmp_path / name).mkdir()
        tar = layer_tar(mtime, **{"b": "1", "a": "2"} if mtime == 1 else {"a": "2", "b": "1"})
        form = Form(EPOCH_S, compression)
        digests.append(built(tmp_path / name, sealed, tar, form=form)[1].digest)
    assert digests[0] == digests[1]


def test_the_weights_are_the_same_whatever_the_copy_of_the_bundle(tmp_path, sealed):
    copy = tmp_path / "copy"
    shutil.copytree(sealed.folder, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700)
    store = Store(tmp_path / "layout")
    first = assemble.weights(sealed, store, Form(EPOCH_S))
    assert assemble.weights(bundle.open_(copy), store, Form(EPOCH_S)) == first


def test_layers_keep_their_order_and_say_what_they_are(tmp_path, sealed):
    tars = [layer_tar(1, a=str(number)) for number in range(3)]
    store, manifest = built(tmp_path, sealed, *tars)
    found = image.read(store, manifest)
    texts = [
        stream.read().decode()
        for part in found.layers[:3]
        for _, stream in layer.entries(store, part.descriptor)
        if stream is not None
    ]
    assert texts == ["0", "1", "2"]
    assert found.history[-1] == "model"


def test_a_layer_with_nothing_in_it_is_left_out(tmp_path, sealed):
    digests = []
    for name, tars in (
        ("without", [layer_tar(1, a="x")]),
        ("with", [layer_tar(1, a="x"), layer_tar(1)]),
    ):
        (tmp_path / name).mkdir()
        digests.append(built(tmp_path / name, sealed, *tars)[1].digest)
    assert digests[0] == digests[1]


def test_a_runtime_of_another_architecture_is_refused(tmp_path, sealed):
    store = Store(tmp_path / "layout")
    model = assemble.weights(sealed, store, Form(EPOCH_S))
    archive = runtime(tmp_path / "r.tar", layer_tar(1, a="x"), arch="arm64")
    with pytest.raises(InvalidImage, match="built for arm64, expected amd64"):
        assemble.assemble(archive, Platform("linux", "amd64"), model, store, Form(EPOCH_S), {})


def test_the_labels_tell_the_lineage_and_nothing_empty(sealed):
    found = assemble.labels(sealed, "acme/phi3", "abc", EPOCH_S)
    assert found["phial.bundle.sha256"] == sealed.sha256
    assert found["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert found["org.opencontainers.image.revision"] == "abc"
    assert found["org.opencontainers.image.title"] == "acme/phi3"
    assert "phial.model.run_id" not in found  # a bare folder has none
    assert all(found.values())
