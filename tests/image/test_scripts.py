"""`scripts/build`, as a user calls it: both architectures in a file, this machine's one loaded."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = pytest.mark.image


def test_build_makes_a_file_for_both_and_loads_the_one_that_runs_here(
    repository, build, podman, wheelhouse, containers
):
    command = [repository / "scripts/build", "--tool", "podman", "--wheelhouse", wheelhouse]
    environment = {k: v for k, v in build.environment.items() if k != "BUILDAH_ISOLATION"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=290, check=False
    )
    assert done.returncode == 0, done.stderr
    reference = done.stdout.strip().splitlines()[-1]
    assert reference.startswith("phial-demo:latest@sha256:")
    archive = repository / "dist/phial-demo.tar"
    raw = subprocess.check_output(
        ["skopeo", "inspect", "--raw", f"oci-archive:{archive}"], env=containers, text=True
    )
    found = [entry["platform"]["architecture"] for entry in json.loads(raw)["manifests"]]
    assert found == ["amd64", "arm64"]
    said = podman.once(
        "localhost/phial-demo:latest", command=("chat", "What is the capital of Spain?")
    )
    assert "Madrid" in said.stdout
