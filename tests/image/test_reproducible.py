"""The same inputs give the same digests: another tool, no network, a clean state, another day."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.image import factory

pytestmark = pytest.mark.image


def test_without_a_network_podman_builds_what_buildah_built(
    build, netless, demo_bundle, wheelhouse, layout, tmp_path
):
    """From a clean state, in a network namespace without a route, from the wheelhouse alone."""
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{tmp_path / 'layout'}")
    command = build.command(*words, "--no-cache", "--wheelhouse", wheelhouse, "--tool", "podman")
    # Podman takes `--network none` only with its own isolation, that of a container.
    environment = {k: v for k, v in build.environment.items() if k != "BUILDAH_ISOLATION"}
    done = netless(*command, timeout_s=500, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().rpartition("@")[2] == layout.digest


def test_the_digest_follows_the_time_of_the_sources(
    build, demo_bundle, wheelhouse, layout, tmp_path
):
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{tmp_path / 'layout'}")
    rest = ("--wheelhouse", wheelhouse, "--tool", "buildah")
    said = build.ask(*words, *rest, SOURCE_DATE_EPOCH=str(factory.EPOCH_S + 1))
    assert said.rpartition("@")[2] != layout.digest


def test_zstd_is_smaller_and_holds_the_same(build, demo_bundle, wheelhouse, layout, tmp_path):
    folder = tmp_path / "layout"
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{folder}")
    rest = ("--wheelhouse", wheelhouse, "--tool", "buildah", "--compression", "zstd")
    said = build.ask(*words, *rest)
    other = factory.Layout(folder, said.rpartition("@")[2])
    for arch, most_mb in (("amd64", 38.0), ("arm64", 34.0)):
        found = other.image(arch)
        assert [p.diff_id for p in found.layers] == [p.diff_id for p in layout.image(arch).layers]
        assert sum(part.descriptor.size_bytes for part in found.layers[:-1]) / 1e6 <= most_mb
    assert other.store.verify() == []


def test_the_dockerfile_alone_gives_the_same_files(
    buildah, build, base_image, demo_bundle, wheelhouse, layout, tmp_path
):
    """`docker build --build-context bundle=...` by hand, which nothing of ours takes part in."""
    from build import context
    from build.oci import docker_archive, layer
    from build.oci.compression import Compression
    from build.oci.store import Store

    folder = context.write(tmp_path / "context", wheelhouse)
    archive = tmp_path / "image.tar"
    tag = "localhost/phial-test/by-hand:1"
    options = (
        *("--format", "docker", "--layers", "--platform", "linux/arm64", "--network", "none"),
        *("--build-context", f"bundle={demo_bundle}", "--build-arg", f"BASE={base_image}"),
        *("--build-arg", f"BUILDPLATFORM=linux/{_native()}"),
    )
    file = build.checkout / "Dockerfile.arm64"
    by_hand = buildah.environment | {"BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        ["buildah", "build", *options, "--file", file, "--tag", tag, folder],
        env=by_hand,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    buildah.ask("push", "--quiet", tag, f"docker-archive:{archive}:{tag}", timeout_s=120)
    opened, store = docker_archive.read(archive), Store(tmp_path / "store")
    diff_ids = []
    for number in range(len(opened.layers)):
        with opened.open_layer(number) as stream:
            form = {"epoch_s": factory.EPOCH_S, "compression": Compression.NONE}
            diff_ids.append(layer.normalise(stream, store, **form).diff_id)
    expected = [part.diff_id for part in layout.image("arm64").layers]
    assert diff_ids[:3] == expected[:3]
    names = {i.name for i, s in layer.entries(store, _descriptor(store, diff_ids[3])) if s}
    weights = layout.image("arm64").layers[3].descriptor
    assert names == {i.name for i, s in layer.entries(layout.store, weights) if s}
    assert opened.config["architecture"] == "arm64"


def test_skopeo_finds_both_platforms_in_the_layout(containers, layout):
    command = ["skopeo", "inspect", "--raw", f"oci:{layout.folder}:1"]
    raw = json.loads(subprocess.check_output(command, env=containers, text=True))
    found = [f"{m['platform']['os']}/{m['platform']['architecture']}" for m in raw["manifests"]]
    assert found == ["linux/amd64", "linux/arm64"]
    assert layout.store.verify() == []


def _native() -> str:
    from build import builder

    return builder.machine_arch()


def _descriptor(store, digest: str):
    from build.oci import media
    from build.oci.descriptor import Descriptor

    size = os.stat(store.path(digest)).st_size
    return Descriptor(media.LAYER_TAR, digest, size)
