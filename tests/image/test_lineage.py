"""From the registry to the image, as an MLflow project: the labels tell the whole way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from build.attestation import attest
from tests.image.factory import Factory, Layout

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def store(build: Factory, demo_model, tmp_path_factory) -> str:
    """A registry with the demo model as `capitals`, version 1, alias `champion`."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    words = (*("log", demo_model, "--name", "capitals", "--register"), "--alias", "champion")
    done = subprocess.run(
        build.command(*words, "--questions", "1"),
        cwd=folder,
        env={**build.environment, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return uri


@pytest.fixture(scope="module")
def project(build: Factory, store: str, wheelhouse: Path, tmp_path_factory) -> Layout:
    """What `mlflow run -e image` published."""
    folder = tmp_path_factory.mktemp("project")
    given = {
        "model": "models:/capitals@champion",
        "tag": "acme/capitals:1",
        "to": f"oci:{folder / 'layout'}",
        "arch": "arm64",
        "tool": "buildah",
        "wheelhouse": wheelhouse,
    }
    words = [word for key, value in given.items() for word in ("-P", f"{key}={value}")]
    command = [sys.executable, "-m", "mlflow", "run", str(build.checkout), "-e", "image"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*command, "--env-manager", "local", *map(str, words)],
        cwd=folder,
        env={**build.environment, "MLFLOW_TRACKING_URI": store, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    digest = next(word for word in done.stdout.split() if word.startswith("acme/capitals:1@"))
    return Layout(folder / "layout", digest.partition("@")[2])


def test_the_labels_name_model_version_alias_and_run(project, store):
    labels = project.image("arm64").config["config"]["Labels"]
    version = mlflow.MlflowClient(store).get_model_version_by_alias("capitals", "champion")
    assert labels["phial.model.registered_name"] == "capitals"
    assert labels["phial.model.version"] == str(version.version)
    assert labels["org.opencontainers.image.version"] == str(version.version)
    assert labels["phial.model.alias"] == "champion"
    assert labels["phial.model.run_id"] == version.run_id
    assert labels["phial.model.source_uri"] == "models:/capitals@champion"


def test_an_image_of_one_architecture_is_an_index_too(project):
    assert list(project.manifests) == ["arm64"]


def test_the_documents_know_the_model_and_not_who_logged_it(project):
    import json

    text = ""
    for one in attest.referrers(project.index, project.store):
        manifest = project.store.read_json(one)
        text += project.store.path(manifest["layers"][0]["digest"]).read_text()
    assert "models:/capitals" in text
    assert json.dumps("mlflow.user") not in text
