"""The container tools: how each is found and asked. Programs that only note their words stand in
for them here; tests/image runs the real ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from build import builder
from build.builder import Recipe, Tool
from build.errors import BuildFailed, ToolMissing

NOTE = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(json.dumps([{name!r}, os.environ.get("DOCKER_BUILDKIT"), *words]), file=log)
if words[0] in {failing!r}:
    print("out of space")
    sys.exit(3)
if "ersion" in words[0] or words[0] == "buildx":
    print({version!r})
"""


class Programs:
    """A folder of stand-ins, the only folder of the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"

    def add(self, name: str, version: str = "", failing: tuple[str, ...] = ()) -> None:
        text = NOTE.format(
            python=os.path.realpath("/proc/self/exe"),
            log=str(self.log),
            name=name,
            failing=failing,
            version=version,
        )
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    @property
    def said(self) -> list[list[str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    return Programs(folder)


def recipe(**changes) -> Recipe:
    usual = {"dockerfile": Path("Dockerfile.arm64"), "stage": "runtime", "context": Path("ctx")}
    return Recipe(**{**usual, "arch": "arm64", **changes})


def test_the_first_tool_that_works_is_taken(programs):
    programs.add("podman", "podman version 4.3.1")
    programs.add("buildah", "buildah version 1.28.2 (image-spec 1.1)")
    assert builder.find() == Tool("podman", "4.3.1")
    assert builder.find("buildah") == Tool("buildah", "1.28.2")


def test_a_docker_client_without_its_engine_is_passed_over(programs):
    programs.add("docker", failing=("version",))
    programs.add("buildah", "buildah version 1.28.2 (image-spec 1.1)")
    assert builder.find().name == "buildah"


def test_docker_is_asked_for_the_version_of_its_engine(programs):
    programs.add("docker", "28.2.2 29.1.0")
    assert builder.find() == Tool("docker", "29.1.0")
    assert [said[2:] for said in programs.said] == [
        ["version", "--format", "{{.Client.Version}} {{.Server.Version}}"],
        ["buildx", "version"],
    ]


def test_a_docker_that_has_buildkit_in_it_needs_no_plugin(programs):
    programs.add("docker", "20.10.24 20.10.24", failing=("buildx",))
    assert builder.find() == Tool("docker", "20.10.24")


def test_a_docker_without_its_plugin_is_passed_over(programs):
    programs.add("docker", "28.2.2 28.2.2", failing=("buildx",))
    with pytest.raises(ToolMissing, match="docker: its buildx component is missing"):
        builder.find()


def test_without_any_tool_it_says_what_was_tried_and_what_to_install(programs):
    programs.add("docker", failing=("version",))
    with pytest.raises(ToolMissing) as caught:
        builder.find()
    (problem,) = caught.value.problems
    assert "docker: its engine does not answer; podman: not installed; buildah: not" in problem
    assert "apt-get install buildah" in problem


def test_a_tool_that_was_asked_for_is_not_replaced_by_another(programs):
    programs.add("podman", "podman version 4.3.1")
    with pytest.raises(ToolMissing, match="docker: not installed"):
        builder.find("docker")


def words(tool: str, **changes) -> list[str]:
    return Tool(tool, "1").build_command(recipe(**changes), "localhost/x:arm64")


@pytest.mark.parametrize("tool", builder.NAMES)
def test_every_tool_gets_the_recipe(tool):
    said = " ".join(words(tool, arguments={"NUMPY": "wheel"}, secrets={"ca.pem": Path("/s/ca")}))
    assert said.startswith(f"{tool} build ")
    assert "--file Dockerfile.arm64 --target runtime --tag localhost/x:arm64" in said
    assert "--platform linux/arm64" in said
    assert "--build-arg NUMPY=wheel" in said
    assert "--secret id=ca.pem,src=/s/ca" in said
    assert said.endswith(" ctx")
    assert "--no-cache" not in said


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_podman_and_buildah_are_told_what_docker_knows(tool):
    said = " ".join(words(tool))
    assert f"BUILDPLATFORM=linux/{builder.machine_arch()}" in said
    assert "--format docker" in said
    assert "BUILDPLATFORM" not in " ".join(words("docker"))


@pytest.mark.parametrize("tool", builder.NAMES)
@pytest.mark.parametrize("network", ["none", "host"])
def test_the_network_is_the_one_that_was_asked_for(tool, network):
    said = words(tool, network=network)
    assert said[said.index("--network") + 1] == network


@pytest.mark.parametrize(
    ("tool", "usual"), [("podman", True), ("buildah", True), ("docker", False)]
)
def test_podman_and_buildah_share_the_network_of_the_machine(tool, usual):
    assert ("--network host" in " ".join(words(tool))) == usual


@pytest.mark.parametrize("tool", builder.NAMES)
def test_a_fresh_build_uses_no_cache(tool):
    assert "--no-cache" in words(tool, is_fresh=True)


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("docker", ["save", "--output", "a.tar", "localhost/phial-runtime:arm64"]),
        (
            "podman",
            [
                *("save", "--quiet", "--format", "docker-archive", "--output", "a.tar"),
                "localhost/phial-runtime:arm64",
            ],
        ),
        (
            "buildah",
            [
                *("push", "--quiet", "localhost/phial-runtime:arm64"),
                "docker-archive:a.tar:localhost/phial-runtime:arm64",
            ],
        ),
    ],
)
def test_the_result_is_saved_as_a_docker_archive(programs, tool, expected):
    programs.add(tool)
    Tool(tool, "1").build(recipe(), Path("a.tar"))
    assert programs.said[0][:3] == [tool, "1", "build"]  # BuildKit, also where it is no default
    assert expected in [said[2:] for said in programs.said]


def test_a_failed_build_says_which_stage_of_which_file(programs):
    programs.add("podman", failing=("build",))
    with pytest.raises(BuildFailed) as caught:
        Tool("podman", "1").build(recipe(), Path("a.tar"))
    assert "Dockerfile.arm64, stage runtime: podman ended with status 3" in str(caught.value)
    assert "out of space" in str(caught.value)
    assert len(programs.said) == 1


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("docker", ["load", "--quiet", "--input", "a.tar"]),
        ("podman", ["load", "--quiet", "--input", "a.tar"]),
        ("buildah", ["pull", "--quiet", "docker-archive:a.tar"]),
    ],
)
def test_an_archive_is_loaded(programs, tool, expected):
    programs.add(tool)
    Tool(tool, "1").load(Path("a.tar"))
    assert [said[2:] for said in programs.said] == [expected]


def test_an_image_that_is_there_is_not_pulled(programs):
    programs.add("podman")
    Tool("podman", "1").pull("debian:x", "localhost/base:x")
    assert [said[2:] for said in programs.said] == [
        ["image", "inspect", "debian:x"],
        ["tag", "debian:x", "localhost/base:x"],
    ]


def test_an_image_that_is_not_there_is_pulled(programs):
    programs.add("buildah", failing=("inspect",))
    Tool("buildah", "1").pull("debian:x", "localhost/base:x")
    assert [said[2] for said in programs.said] == ["inspect", "pull", "tag"]
