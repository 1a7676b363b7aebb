"""The objects that `kubectl apply -k` would send, of each variant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.deploy import kustomization

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VARIANTS = ("slim", "pipeline")


@pytest.fixture(scope="session")
def with_keys(tmp_path_factory):
    """A kustomization as a user would write it: the slim variant with API keys."""
    folder = tmp_path_factory.mktemp("with keys") / "kubernetes"
    for source in KUBERNETES.rglob("*.yaml"):
        target = folder / source.relative_to(KUBERNETES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    mine = {"resources": ["../slim"], "components": ["../api-keys"]}
    (folder / "mine").mkdir()
    (folder / "mine" / kustomization.FILE).write_text(yaml.safe_dump(mine))
    return folder / "mine"


@pytest.fixture(scope="session", params=VARIANTS)
def variant(request):
    """The name of a variant; each test is run with both."""
    return request.param


@pytest.fixture(scope="session")
def objects(variant):
    """The variant's objects, by kind."""
    return kustomization.by_kind(kustomization.read(KUBERNETES / variant))


@pytest.fixture(scope="session")
def pod(objects):
    """The specification of the variant's pods."""
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="session")
def container(pod):
    """The only container of the variant's pods."""
    (only,) = pod["containers"]
    return only
