"""The container tool that runs the Dockerfiles: Docker, podman or buildah, whichever is there.

All three are used for one thing: to run a Dockerfile up to a stage and to hand the result over
as a docker-archive. Everything after that (layers, digests, index, push) is `build.oci`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from build import context
from build.command import run
from build.errors import BuildFailed, ToolMissing
from build.network import Network
from build.variant import Variant

Name = Literal["docker", "podman", "buildah"]
NAMES: tuple[Name, ...] = ("docker", "podman", "buildah")
_ANSWER_S = 30
_BUILDX_SINCE = 23  # Docker's client builds by this plugin
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build: a Dockerfile up to `stage` in `context`, for the Debian name `arch`.

    `secrets` are files by id; `network` is a word of the tool's own (`none`, `host`), else the
    tool's usual one; `is_fresh` uses no cached stage.
    """

    dockerfile: Path
    stage: str
    context: Path
    arch: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: str = ""
    is_fresh: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """One container tool of this machine."""

    name: Name
    version: str

    def build(self, recipe: Recipe, archive: Path, *, is_loud: bool = False) -> None:
        """Run the Dockerfile and write the stage's image as a docker-archive.

        Raises `BuildFailed` with the last lines of the tool's output.
        """
        tag = f"localhost/phial-{recipe.stage}:{recipe.arch}"
        what = f"{recipe.dockerfile.name}, stage {recipe.stage}"
        run(
            self.build_command(recipe, tag),
            what,
            is_loud=is_loud,
            error=BuildFailed,
            environment={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
        self.save(tag, archive)
        if self.name == "docker":  # for the others the image is the cache of the next build
            run(self._words("rmi", tag), f"removing {tag}", error=BuildFailed)

    def build_command(self, recipe: Recipe, tag: str) -> list[str]:
        """The command that builds `recipe` as `tag`."""
        arguments = dict(recipe.arguments)
        if self.name != "docker":  # Docker fills this in by itself
            arguments["BUILDPLATFORM"] = f"linux/{machine_arch()}"
        options = [
            *("--file", str(recipe.dockerfile), "--target", recipe.stage, "--tag", tag),
            *("--platform", f"linux/{recipe.arch}"),
            *(word for n, value in arguments.items() for word in ("--build-arg", f"{n}={value}")),
            *(word for n, p in recipe.secrets.items() for word in ("--secret", f"id={n},src={p}")),
        ]
        if recipe.is_fresh:
            options.append("--no-cache")
        network = recipe.network or ("" if self.name == "docker" else "host")
        if network:
            options += ["--network", network]
        return [*self._words("build", *self._formats()), *options, str(recipe.context)]

    def save(self, reference: str, archive: Path) -> None:
        """Write the local image `reference` as a docker-archive; raises `BuildFailed`."""
        if self.name == "buildah":
            words = ["push", "--quiet", reference, f"docker-archive:{archive}:{reference}"]
        elif self.name == "podman":
            words = ["save", "--quiet", "--format", "docker-archive", "--output", str(archive)]
            words.append(reference)
        else:
            words = ["save", "--output", str(archive), reference]
        run(self._words(*words), f"saving {reference}", error=BuildFailed)

    def load(self, archive: Path) -> None:
        """Load a docker-archive into the tool's own store; raises `BuildFailed`."""
        if self.name == "buildah":
            words = ["pull", "--quiet", f"docker-archive:{archive}"]
        else:
            words = ["load", "--quiet", "--input", str(archive)]
        run(self._words(*words), f"loading {archive.name}", error=BuildFailed)

    def pull(self, reference: str, tag: str) -> None:
        """Have `reference` under the local name `tag`; raises `BuildFailed`."""
        known = (
            ["image", "inspect", reference] if self.name != "buildah" else ["inspect", reference]
        )
        if subprocess.run(self._words(*known), capture_output=True, check=False).returncode:
            run(self._words("pull", reference), f"pulling {reference}", error=BuildFailed)
        run(self._words("tag", reference, tag), f"tagging {reference}", error=BuildFailed)

    def _formats(self) -> Sequence[str]:
        # OCI's own format has no place for HEALTHCHECK; podman and buildah would drop it.
        return () if self.name == "docker" else ("--format", "docker", "--layers")

    def _words(self, *words: str) -> list[str]:
        return [self.name, *words]


@contextmanager
def sources(
    network: Network, wheelhouse: Path | None, variant: Variant
) -> Iterator[tuple[Path, dict[str, Path]]]:
    """The build context, and the secrets by id beside it; both are gone afterwards."""
    with TemporaryDirectory(prefix="phial-image-") as scratch:
        folder = Path(scratch) / "secrets"
        folder.mkdir(mode=0o700)
        secrets = network.write_secrets(folder)
        yield context.write(Path(scratch) / "context", wheelhouse, variant), secrets


def find(wanted: Name | None = None) -> Tool:
    """The first of docker, podman and buildah that works, or the `wanted` one.

    Raises `ToolMissing` with what was tried.
    """
    tried = []
    for name in (wanted,) if wanted else NAMES:
        version, problem = _answer(name)
        if version:
            return Tool(name, version)
        tried.append(f"{name}: {problem}")
    raise ToolMissing(
        "no container tool to build with (" + "; ".join(tried) + "). Install Docker with buildx, "
        "podman or buildah; on Debian and Ubuntu: apt-get install buildah"
    )


def machine_arch() -> str:
    """Debian's name for this machine's architecture; the kernel's where it has none here."""
    return _ARCHES.get(platform.machine(), platform.machine())


def _answer(name: Name) -> tuple[str, str]:
    """The tool's version, or why it cannot be used. A Docker client needs its engine too."""
    if shutil.which(name) is None:
        return "", "not installed"
    if name != "docker":
        words = _output(name, "--version")
        return (words[2], "") if len(words) > 2 else ("", "does not answer")
    words = _output(name, "version", "--format", "{{.Client.Version}} {{.Server.Version}}")
    if len(words) < 2:
        return "", "its engine does not answer"
    # Older clients have BuildKit in them.
    major = words[0].partition(".")[0]
    needs_buildx = not major.isdecimal() or int(major) >= _BUILDX_SINCE
    if needs_buildx and not _output(name, "buildx", "version"):
        return "", "its buildx component is missing"
    return words[1], ""


def _output(*command: str) -> list[str]:
    """The words that `command` prints; none where it fails or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
