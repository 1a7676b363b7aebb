"""Weights that a model only names, in the cache of `huggingface_hub` or nowhere."""

import os
import sys
from pathlib import Path

import huggingface_hub
import pytest

from build.errors import InvalidModel
from build.options import Options
from build.pipeline import hub
from build.pipeline.places import Places

REVISION = "0123456789abcdef0123456789abcdef01234567"
NO = Options()


def cache(origin: Path, cached: Path, name: str = "acme/tiny") -> Path:
    """Lay `origin` out as a download of the repository `name`; returns the snapshot."""
    repository = cached / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(REVISION)
    for number, path in enumerate(sorted(origin.iterdir())):
        blob = repository / "blobs" / f"{number:040d}"
        blob.write_bytes(path.read_bytes())
        if not (snapshot / path.name).is_symlink():
            (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.fixture
def cached(demo_weights, tmp_path, monkeypatch):
    """The demo model's weights as acme/tiny in a cache of this test alone."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return cache(demo_weights, tmp_path / "hub")


def refusal(name, revision="", options=NO):
    with pytest.raises(InvalidModel) as caught:
        hub.locate(name, revision, options)
    return str(caught.value)


def test_a_folder_of_this_machine(demo_weights):
    assert hub.locate(str(demo_weights), "", NO) == demo_weights


def test_a_repository_that_was_downloaded_before(cached):
    assert hub.locate("acme/tiny", REVISION, NO) == cached
    assert hub.locate("acme/tiny", "", NO) == cached


def test_the_links_of_the_cache_stay_in_its_repository(cached):
    places = Places(cached, cached, cached)
    assert places.homes == {cached: cached.parent.parent}


def test_one_that_was_not_says_what_to_do(cached):
    told = refusal("acme/other", REVISION)
    assert "it only names acme/other at 0123456789ab" in told
    assert "mlflow.transformers.persist_pretrained_model" in told
    assert "--allow-download fetches them" in told


def test_another_revision_is_not_the_same(cached):
    assert "acme/tiny at ffffffffffff" in refusal("acme/tiny", "f" * 40)


def test_a_download_that_fails(cached, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    told = refusal("acme/other", REVISION, Options(allow_download=True))
    assert "the hub did not give acme/other at 0123456789ab" in told


def test_what_a_download_asks_for(cached, monkeypatch):
    """Pickles and code only where they were allowed."""
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options)
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub.locate("acme/tiny", REVISION, Options(allow_download=True))
    assert (asked["revision"], asked["local_files_only"]) == (REVISION, False)
    assert not {"*.bin", "*.py", "*.pt"} & set(asked["allow_patterns"])
    hub.locate("acme/tiny", REVISION, Options(allow_pickle=True, allow_remote_code=True))
    assert {"*.bin", "*.py"} <= set(asked["allow_patterns"])
    assert asked["local_files_only"]


def test_a_folder_of_another_machine():
    told = refusal("/srv/models/base")
    assert "the folder base, which this machine does not have" in told
    assert "/srv" not in told


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    assert "scripts/install demo installs it" in refusal("acme/tiny")


def test_a_name_that_is_none():
    assert "--allow-download" in refusal("no such/name at/all")
