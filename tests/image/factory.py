"""`python -m build image` and `fetch` as a user runs them, and what they cost only once a run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.oci import graph, image
from build.oci.descriptor import Descriptor
from build.oci.image import Image
from build.oci.store import Store

EPOCH_S = 1_700_000_000
TAG = "phial-test/demo:1"
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
_BUILD_S = 500
_DAY_S = 86_400
_WHEELHOUSE_DAYS = 7  # older, it lacks security updates


@dataclass(frozen=True)
class Factory:
    """The factory's command line in `checkout`, with the variables of `environment`."""

    checkout: Path
    environment: Mapping[str, str]

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "build", *map(str, words)]

    def run(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command, whatever its status."""
        return subprocess.run(
            self.command(*words),
            cwd=self.checkout,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
            check=False,
        )

    def ask(self, *words: str | Path, **variables: str) -> str:
        """What a command prints; the test fails where the command does."""
        done = self.run(*words, **variables)
        if done.returncode:
            pytest.fail(f"python -m build {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


@dataclass(frozen=True)
class Layout:
    """A published OCI layout and the digest that the command printed."""

    folder: Path
    digest: str

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def index(self) -> Descriptor:
        return next(one for one in self.store.list() if one.digest == self.digest)

    @property
    def manifests(self) -> dict[str, Descriptor]:
        """Architecture to manifest."""
        children = graph.children(self.index, self.store.read_json(self.index))
        return {one.platform.architecture: one for one in children if one.platform}

    def image(self, arch: str) -> Image:
        return image.read(self.store, self.manifests[arch])


def environment(checkout: Path, containers: Mapping[str, str]) -> dict[str, str]:
    """Builds in the tests' own store; `chroot` needs no more rights than a test has."""
    return {
        **containers,
        "BUILDAH_ISOLATION": "chroot",
        "SOURCE_DATE_EPOCH": str(EPOCH_S),
        "PYTHONPATH": str(checkout),
    }


def network() -> list[str | Path]:
    """The flags with which packages can be reached from here, beyond what the environment says."""
    return ["--ca", SYSTEM_CA] if SYSTEM_CA.exists() else []


def wheelhouse(factory: Factory, cache: Path, base: str) -> Path:
    """A wheelhouse for both architectures, kept between runs for as long as it is of use."""
    recipe = [factory.checkout / "requirements/edge.txt", *_recipe(factory.checkout)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in recipe)).hexdigest()[:12]
    folder = cache / f"wheelhouse-{key}"
    is_fresh = folder.exists() and time.time() - folder.stat().st_mtime < _WHEELHOUSE_DAYS * _DAY_S
    if not is_fresh:
        factory.ask("fetch", "--out", folder, "--force", "--base", base, *network())
        os.utime(folder)
    return folder


def _recipe(checkout: Path) -> list[Path]:
    return [checkout / "build/rootfs" / name for name in ("download.sh", "wheels.py")]
