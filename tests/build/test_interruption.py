"""An export that is stopped, at any point and in any way, leaves nothing half-written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from build.bundle import open_

# The real command line, which stands still at the given flush to disk and says so.
DRIVER = """
import runpy, sys, time
from build import workspace
stop_at, real, calls = int(sys.argv[1]), workspace.sync, 0

def sync(path):
    global calls
    real(path)
    calls += 1
    if calls == stop_at:
        print("standing", flush=True)
        time.sleep(600)

workspace.sync = sync
if sys.argv[2] == "no-swap":
    workspace._exchange = lambda one, other: False
sys.argv[1:] = sys.argv[3:]
runpy.run_module("build", run_name="__main__", alter_sys=True)
"""
FIRST, MIDDLE = 1, 4


def start(repository, at, *argv, swap="swap"):
    command = [sys.executable, "-c", DRIVER, str(at), swap, *map(str, argv)]
    return subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop(process, number):
    """Send the signal once the export stands; returns its status and what it said."""
    assert process.stdout.readline() == "standing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def export(repository, *argv):
    command = [sys.executable, "-m", "build", "export", *map(str, argv)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)


def leftovers(folder: Path):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("at", [FIRST, MIDDLE])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_told_to_stop_tidies_up(repository, demo_model, tmp_path, at, number):
    argv = ("export", demo_model, "--out", tmp_path / "out", "--skip-trial")
    status, err = stop(start(repository, at, *argv), number)
    assert status == 130
    assert err == "export: interrupted\n"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("at", [FIRST, MIDDLE])
def test_being_killed_leaves_no_bundle_and_the_next_export_tidies(
    repository, demo_model, tmp_path, at
):
    argv = (demo_model, "--out", tmp_path / "out", "--skip-trial")
    status, _ = stop(start(repository, at, "export", *argv), signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    (stale,) = leftovers(tmp_path)
    assert stale.startswith(".out.phial-")
    done = export(repository, *argv)
    assert (done.returncode, leftovers(tmp_path)) == (0, ["out"])
    open_(tmp_path / "out", whole=True)


def flushes(folder: Path):
    """How often an export of as many entries flushes: each file and folder, then the workspace."""
    return len(list(folder.rglob("*"))) + 2


@pytest.mark.parametrize(
    ("number", "swap"),
    [(signal.SIGKILL, "swap"), (signal.SIGKILL, "no-swap"), (signal.SIGINT, "swap")],
)
def test_an_old_bundle_survives_until_the_new_one_is_there(
    repository, demo_model, tmp_path, number, swap
):
    out = tmp_path / "out"
    argv = (demo_model, "--out", out, "--skip-trial")
    assert export(repository, *argv).returncode == 0
    old = open_(out, whole=True)
    last = flushes(out)
    changed = ("export", *argv, "--force", "--name", "renamed")
    for at in (FIRST, last):  # the last one stands before the swap
        stop(start(repository, at, *changed, swap=swap), number)
        assert open_(out, whole=True) == old
    stop(start(repository, last + 1, *changed, swap=swap), number)
    assert open_(out, whole=True).manifest.name == "renamed"
    assert export(repository, *argv, "--force").returncode == 0
    assert open_(out, whole=True) == old
    assert leftovers(tmp_path) == ["out"]


def test_two_exports_at_once_do_not_disturb_each_other(repository, demo_model, tmp_path):
    argv = (demo_model, "--out", tmp_path / "out", "--skip-trial")
    standing = start(repository, MIDDLE, "export", *argv)
    try:
        assert standing.stdout.readline() == "standing\n"
        assert export(repository, *argv).returncode == 0
        assert len(leftovers(tmp_path)) == 2
    finally:
        standing.send_signal(signal.SIGINT)
        standing.communicate(timeout=60)
    assert leftovers(tmp_path) == ["out"]
    open_(tmp_path / "out", whole=True)
