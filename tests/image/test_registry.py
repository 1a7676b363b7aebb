"""To a real registry and back: both platforms, the documents, and only what it lacks."""

from __future__ import annotations

import json
import subprocess
import urllib.request

import pytest

from tests.image.test_run import NATIVE

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def pushed(registry, build, demo_bundle, wheelhouse, layout) -> str:
    """The reference of the image in the registry, as the command printed it."""
    name = f"{registry.host}/acme/demo"
    words = ("image", demo_bundle, "--tag", f"{name}:1", "--to", name)
    said = build.ask(*words, "--wheelhouse", wheelhouse, "--tool", "buildah")
    reference, _, digest = said.partition("@")
    assert reference == f"{name}:1"
    return f"{name}@{digest}"


def get(registry, path: str) -> dict:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(f"http://{registry.host}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_the_tag_leads_to_both_platforms(registry, pushed):
    index = get(registry, "/v2/acme/demo/manifests/1")
    found = [entry["platform"]["architecture"] for entry in index["manifests"]]
    assert found == ["amd64", "arm64"]


def test_podman_runs_it_by_digest(podman, pushed):
    podman.ask("pull", "--quiet", "--tls-verify=false", pushed, timeout_s=200)
    with podman.start(pushed, "--read-only", "--cap-drop", "all") as container:
        container.await_answer("/readyz")
    podman.ask("rmi", pushed)


def test_the_other_platform_is_pulled_from_the_same_name(podman, pushed):
    other = "amd64" if NATIVE == "arm64" else "arm64"
    platform = ("--platform", f"linux/{other}")
    podman.ask("pull", "--quiet", "--tls-verify=false", *platform, pushed, timeout_s=200)
    assert podman.ask("inspect", "--format", "{{.Architecture}}", pushed) == other
    podman.ask("rmi", pushed)


def test_the_documents_are_found_by_the_referrers_tag(registry, pushed):
    digest = pushed.partition("@")[2]
    found = get(registry, f"/v2/acme/demo/manifests/{digest.replace(':', '-')}")
    types = sorted(entry["artifactType"] for entry in found["manifests"])
    assert types == [
        *["application/spdx+json"] * 2,
        *["application/vnd.cyclonedx+json"] * 2,
        "application/vnd.in-toto+json",
    ]
    for entry in found["manifests"]:
        manifest = get(registry, f"/v2/acme/demo/manifests/{entry['digest']}")
        assert manifest["subject"]["digest"] == digest


def test_the_weights_are_stored_once_for_both(registry, pushed, layout):
    digests = [
        get(registry, f"/v2/acme/demo/manifests/{entry['digest']}")["layers"][-1]["digest"]
        for entry in get(registry, "/v2/acme/demo/manifests/1")["manifests"]
    ]
    assert digests[0] == digests[1] == layout.image("amd64").layers[-1].descriptor.digest


def test_a_second_push_sends_no_layer_again(
    registry, pushed, build, demo_bundle, wheelhouse, layout
):
    before = len(registry.requests("PUT"))
    name = f"{registry.host}/acme/demo"
    words = ("image", demo_bundle, "--tag", f"{name}:2", "--to", name)
    build.ask(*words, "--wheelhouse", wheelhouse, "--tool", "buildah")
    again = registry.requests("PUT")[before:]
    assert again
    layers = {
        part.descriptor.digest.removeprefix("sha256:")
        for arch in ("amd64", "arm64")
        for part in layout.image(arch).layers
    }
    assert [path for path in again if any(digest in path for digest in layers)] == []
    assert any("manifests/2" in path for path in again)


def test_the_whole_can_be_copied_away(containers, registry, pushed, tmp_path):
    command = ["skopeo", "copy", "--all", "--src-tls-verify=false"]
    command += [f"docker://{pushed}", f"oci:{tmp_path / 'copy'}:1"]
    subprocess.run(command, env=containers, check=True, capture_output=True, timeout=120)


def test_a_registry_that_is_not_there_is_told_before_anything_is_built(build, demo_bundle):
    name = "127.0.0.1:1/acme/demo"
    done = build.run("image", demo_bundle, "--tag", f"{name}:1", "--to", name)
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "runtime" not in done.stderr
