"""A real Docker daemon: it builds the Dockerfiles, takes our archives, and runs the image."""

from __future__ import annotations

import json
import time

import pytest

from tests.image import factory
from tests.image.engine import Engine
from tests.image.factory import Layout

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def loaded(dockerd: Engine, build, layout: Layout, tmp_path_factory) -> str:
    """The image of this machine in the daemon, by `docker load`."""
    from build import publish
    from build.destination import parse_tag
    from build.oci import docker_archive

    archive = tmp_path_factory.mktemp("docker") / "image.tar"
    name = str(parse_tag(factory.TAG))
    docker_archive.write(layout.store, publish.choose(layout.store, layout.index), name, archive)
    dockerd.ask("load", "--input", archive)
    return name


def test_run_with_a_port_is_all_that_a_user_types(dockerd, loaded):
    with dockerd.start(loaded) as container:
        container.await_answer("/readyz")
        assert '"demo"' in container.await_answer("/v1/models")
        deadline = time.monotonic() + 60
        while container.state("Health.Status") == "starting" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert container.state("Health.Status") == "healthy"
        assert container.stop() == 0


def test_the_id_is_the_digest_of_the_config(dockerd, loaded, layout):
    from build import publish

    manifest = layout.store.read_json(publish.choose(layout.store, layout.index))
    assert dockerd.ask("inspect", "--format", "{{.Id}}", loaded) == manifest["config"]["digest"]


def test_it_runs_locked_down_and_takes_commands(dockerd, loaded):
    options = ("--read-only", "--cap-drop", "ALL", "--network", "none", "--rm")
    done = dockerd.once(loaded, *options, command=("version", "--json"))
    assert json.loads(done.stdout), done.stderr


def test_docker_builds_the_same_image_as_buildah(
    dockerd, docker_base, build, demo_bundle, wheelhouse, layout, tmp_path
):
    """Digest by digest: the tool that ran the Dockerfile leaves no trace in the image."""
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{tmp_path / 'layout'}")
    said = build.ask(
        *(*words, "--arch", "amd64", "--arch", "arm64", "--tool", "docker"),
        *("--base", docker_base, "--wheelhouse", wheelhouse),
        # Debian's client has BuildKit in it; a newer one may come first in the PATH.
        **{**dockerd.environment, "PATH": f"/usr/bin:{dockerd.environment['PATH']}"},
    )
    assert said.rpartition("@")[2] == layout.digest
