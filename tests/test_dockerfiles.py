"""The two Dockerfiles: the same but for one block, and written as they should be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
FILES = {arch: ROOT / f"Dockerfile.{arch}" for arch in ARCHES}


def instructions(arch: str) -> list[tuple[str, str]]:
    """(keyword, rest) of every instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", FILES[arch].read_text(), flags=re.M)
    joined = re.sub(r"\\\n\s*", "", text)
    pairs = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(keyword, rest) for keyword, rest in pairs]


def stage(arch: str, name: str) -> list[tuple[str, str]]:
    """The instructions of the stage `name`; of the last one with an empty name."""
    starts = [i for i, (word, _) in enumerate(instructions(arch)) if word == "FROM"]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        found = instructions(arch)[start:end]
        alias = found[0][1].partition(" AS ")[2]
        if alias == name:
            return found
    raise AssertionError(f"no stage {name}")


def test_they_differ_in_one_block_of_arguments_alone():
    amd64, arm64 = (FILES[arch].read_text().splitlines() for arch in ARCHES)
    assert len(amd64) == len(arm64)
    different = [i for i, (one, two) in enumerate(zip(amd64, arm64, strict=True)) if one != two]
    assert different == list(range(different[0], different[0] + len(ARCHES)))
    for lines, (arch, machine) in zip((amd64, arm64), ARCHES.items(), strict=True):
        block = [lines[i] for i in different]
        assert block == [f"ARG ARCH={arch}", f"ARG MACHINE={machine}"]


@pytest.mark.parametrize("arch", ARCHES)
def test_hadolint_has_nothing_to_say(arch):
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, FILES[arch]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_hadolint_may_not_say_is_named():
    text = FILES["arm64"].read_text()
    assert re.findall(r"hadolint ignore=(\S+)", text) == ["DL3029", "DL3022", "DL3022"]


def test_shellcheck_has_nothing_to_say_of_what_they_run():
    program = Path(sys.executable).with_name("shellcheck")
    script = ROOT / "build/rootfs/download.sh"
    done = subprocess.run([program, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("arch", ARCHES)
def test_the_base_is_pinned_and_can_be_replaced(arch):
    (keyword, base), *_ = instructions(arch)
    assert keyword == "ARG"
    assert re.fullmatch(r"BASE=docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}", base)
    bases = [rest for word, rest in instructions(arch) if word == "FROM"]
    assert bases[0] == "--platform=$BUILDPLATFORM ${BASE} AS downloads"
    own = {rest.partition(" AS ")[2] for rest in bases if " AS " in rest}
    assert {rest.split()[-3] for rest in bases[1:-1]} <= {"scratch", *own}


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("runtime", "whole"), [("runtime", ""), ("pipeline-runtime", "pipeline")])
def test_the_image_starts_from_nothing_and_ends_with_the_weights(arch, runtime, whole):
    assert stage(arch, "settings")[0][1].startswith("--platform=linux/$ARCH scratch")
    made = stage(arch, runtime)
    assert made[0] == ("FROM", f"settings AS {runtime}")
    assert "RUN" not in {word for word, _ in (*stage(arch, "settings"), *made)}
    assert stage(arch, whole)[1:] == [("COPY", "--from=bundle / /model/")]
    assert stage(arch, whole)[0][1].split()[0] == runtime


@pytest.mark.parametrize("arch", ARCHES)
def test_how_it_runs_is_said(arch):
    said = dict(stage(arch, "settings"))
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", said["USER"])
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert said["EXPOSE"] == "8080"
    assert json.loads(said["ENTRYPOINT"]) == ["/usr/bin/python3", "-m", "edge"]
    assert json.loads(said["HEALTHCHECK"].partition(" CMD ")[2])[-1] == "probe"
    assert "ORT_DISABLE_TELEMETRY=1" in said["ENV"]
    assert "SHELL" not in said


@pytest.mark.parametrize("arch", ARCHES)
def test_secrets_come_by_mount_and_never_by_argument(arch):
    words = ("secret", "token", "password", "proxy", "index")
    said = [
        rest.lower()
        for keyword, rest in instructions(arch)
        if keyword in ("ARG", "ENV", "LABEL", "COPY")
    ]
    assert [line for line in said if any(word in line for word in words)] == []
    runs = [rest for keyword, rest in instructions(arch) if keyword == "RUN"]
    downloads = [run for run in runs if "download.sh" in run]
    assert len(downloads) == 2
    assert all("--mount=type=secret,id=pip.conf" in run for run in downloads)
    assert all("--mount" not in run for run in runs if run not in downloads)


def test_the_version_of_python_is_the_same_everywhere():
    from build.rootfs import contents, wheels

    script = (ROOT / "build/rootfs/download.sh").read_text()
    assert f"python={wheels.PYTHON}\n" in script
    assert (f"usr/bin/python{wheels.PYTHON}",) == contents.SYSTEM_KEPT
