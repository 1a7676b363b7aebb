"""Torch for the pipeline image, downloaded on this machine, by the pip of its environment.

That way an index or a folder of wheels that only this machine's pip knows serves the build too,
and pip's cache keeps 200 MB from coming twice. `download.sh` takes what it finds in the context.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from build import context
from build.errors import BuildFailed
from build.network import Network
from build.rootfs import wheels

FOLDER = "torch"
_SUMS = "SHA256SUMS"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def add(arches: Iterable[str], wheelhouse: Path, network: Network) -> None:
    """Put the pinned wheel of each architecture into `wheelhouse`, unless it is there.

    Raises `BuildFailed`.
    """
    for arch in arches:
        folder = wheelhouse / FOLDER / arch
        if not (folder / _SUMS).is_file():
            _download(arch, folder, network)
            _seal(folder)


def requirements(arch: str) -> Path:
    """The lock that names torch for `arch`."""
    return context.ROOT / f"requirements/torch-{arch}.txt"


def _download(arch: str, folder: Path, network: Network) -> None:
    folder.mkdir(parents=True)
    variables = {"PIP_RETRIES": "1", **_reached_by(network)}
    try:
        wheels.download(requirements(arch), _MACHINES[arch], folder, variables)
    except subprocess.CalledProcessError as error:
        raise BuildFailed(
            f"pip cannot download torch as {requirements(arch).name} pins it: is its index within "
            "reach? Otherwise name a mirror (--index-url), or build with a --wheelhouse"
        ) from error


def _reached_by(network: Network) -> dict[str, str]:
    said = {
        "PIP_INDEX_URL": network.index_url,
        "PIP_PROXY": network.proxy,
        "PIP_CERT": str(network.ca or ""),
    }
    return {name: value for name, value in said.items() if value}


def _seal(folder: Path) -> None:
    """`SHA256SUMS`, as sha256sum(1) writes and checks it."""
    lines = []
    for path in sorted(folder.glob("*.whl")):
        with path.open("rb") as stream:
            lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.name}\n")
    (folder / _SUMS).write_text("".join(lines))
