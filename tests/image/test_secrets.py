"""A password on the way to the packages: used, and left nowhere."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from scripts import container_settings
from tests.image import factory, forward_proxy

pytestmark = pytest.mark.image
PASSWORD = f"hush{secrets.token_hex(12)}"


@pytest.fixture(scope="module")
def fetched(build, base_image, tmp_path_factory):
    """What a fetch through a proxy with a password said, seen and left on the disk."""
    folder = tmp_path_factory.mktemp("fetched")
    mark = folder / "mark"
    mark.write_text("")
    time.sleep(1.1)  # file systems with coarse times
    words = ("fetch", "--out", folder / "house", "--platform", "linux/arm64", "--no-cache")
    with forward_proxy.running("ada", PASSWORD) as proxy:
        rest = ("--base", base_image, "--tool", "buildah", "--proxy", proxy.url)
        done = build.run(*words, *rest, "--verbose", *factory.network())
    assert done.returncode == 0, done.stderr
    return folder, mark, proxy, done


def test_packages_and_wheels_came_through_the_proxy(fetched):
    *_, proxy, _ = fetched
    assert any(entry.startswith("GET ") and entry.endswith(".deb") for entry in proxy.seen)
    assert any(entry.startswith("CONNECT ") and entry.endswith(":443") for entry in proxy.seen)


def test_the_wheelhouse_is_whole(fetched):
    folder, *_ = fetched
    parts = ("debian/arm64", "wheels/arm64", "tools")
    assert all(list((folder / "house" / part).rglob("SHA256SUMS")) for part in parts)
    assert list((folder / "house/wheels/arm64").glob("numpy-*aarch64.whl"))


def test_no_layer_no_config_and_no_history_holds_the_password(fetched):
    """Every file that the build left in the store of the container tool, intermediate ones too."""
    _, mark, *_ = fetched
    store = container_settings.FOLDER / "storage"
    listing = ["find", store, "-type", "f", "-newer", mark, "-print0"]
    files = subprocess.run(listing, capture_output=True, check=False).stdout.split(b"\0")
    assert len(files) > 100
    found = []
    for name in filter(None, files):
        path = Path(name.decode())
        if path.is_file() and PASSWORD.encode() in path.read_bytes():
            found.append(path)
    assert found == []


def test_the_wheelhouse_and_the_output_do_not_hold_it_either(fetched):
    folder, _, _, done = fetched
    assert PASSWORD not in done.stdout + done.stderr
    files = [path for path in (folder / "house").rglob("*") if path.is_file()]
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def test_the_published_image_holds_no_trace_of_the_network(layout):
    text = json.dumps([layout.image(arch).config for arch in ("amd64", "arm64")])
    assert "/run/secrets" not in text
    assert "proxy" not in text.lower()
