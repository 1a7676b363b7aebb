"""A build that ends in the middle: by a signal, or by a fault. Nothing is left half-published."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.image import factory

pytestmark = pytest.mark.image


def image_words(demo_bundle: Path, wheelhouse: Path, out: Path) -> tuple[str | Path, ...]:
    published = ("--tag", factory.TAG, "--to", f"oci:{out}")
    return ("image", demo_bundle, *published, "--wheelhouse", wheelhouse, "--tool", "buildah")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_leaves_nothing(build, demo_bundle, wheelhouse, tmp_path, number):
    scratch, out = tmp_path / "scratch", tmp_path / "layout"
    scratch.mkdir()
    command = build.command(*image_words(demo_bundle, wheelhouse, out), "--no-cache")
    process = subprocess.Popen(
        command,
        cwd=build.checkout,
        env={**build.environment, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "runtime amd64" in line:
            break
    time.sleep(2)
    process.send_signal(number)
    assert process.wait(60) == 130, "".join([*said, process.stderr.read()])
    process.stderr.close()
    assert not out.exists()
    assert list(tmp_path.glob(".layout*")) == []
    assert [path.name for path in scratch.iterdir() if path.name.startswith("phial-")] == []


def test_a_base_that_is_not_there_is_told_with_its_stage(build, demo_bundle, tmp_path):
    out = tmp_path / "layout"
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{out}")
    done = build.run(*words, "--base", "localhost/no-such-image:1", "--tool", "buildah")
    assert done.returncode == 1
    assert "image: runtime amd64: Dockerfile.amd64, stage runtime: buildah ended" in done.stderr
    assert "no-such-image" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_wheelhouse_that_was_changed_is_refused(build, demo_bundle, wheelhouse, tmp_path):
    import shutil

    house = tmp_path / "house"
    shutil.copytree(wheelhouse, house)
    spoiled = next((house / "wheels/amd64").glob("flask-*.whl"))
    spoiled.write_bytes(spoiled.read_bytes() + b"x")
    done = build.run(*image_words(demo_bundle, house, tmp_path / "layout"), "--arch", "amd64")
    assert done.returncode == 1
    assert "is not what was downloaded: fetch it again" in done.stderr


def test_what_is_there_already_is_not_replaced_unasked(build, demo_bundle, wheelhouse, tmp_path):
    out = tmp_path / "layout"
    out.mkdir()
    (out / "mine").write_text("precious")
    done = build.run(*image_words(demo_bundle, wheelhouse, out), "--force")
    assert done.returncode == 1
    assert "runtime" not in done.stderr
    assert (out / "mine").read_text() == "precious"
