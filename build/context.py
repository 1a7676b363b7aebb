"""The build context: the few files of the checkout that the Dockerfiles copy, and a wheelhouse."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from build.errors import BuildFailed
from build.variant import PIPELINE, Variant

ROOT = Path(__file__).resolve().parent.parent
WHEELHOUSE = "wheelhouse"
_FILES = (
    *("LICENSE", "build/__init__.py", "requirements/edge.txt", "requirements/pipeline.txt"),
    *("requirements/torch-amd64.txt", "requirements/torch-arm64.txt"),
)
_FOLDERS = ("build/rootfs", "edge")
_BASE = "ARG BASE="
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")
_EPOCH_S = 315532800  # 1980-01-01, for a checkout whose age nobody knows


def write(folder: Path, wheelhouse: Path | None = None, variant: Variant = PIPELINE) -> Path:
    """Copy what the Dockerfiles need for `variant` into `folder`; returns it.

    Raises `BuildFailed`.
    """
    try:
        for name in _FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=_SKIPPED)
        if wheelhouse is not None:
            unneeded = set(PIPELINE.wheelhouse) - set(variant.wheelhouse)
            ignored = shutil.ignore_patterns("base-*.tar", *unneeded)
            shutil.copytree(wheelhouse, folder / WHEELHOUSE, ignore=ignored)
    except (OSError, shutil.Error) as error:
        raise BuildFailed(f"the build context cannot be written: {error}") from error
    return folder


def dockerfile(arch: str) -> Path:
    """The Dockerfile of an architecture."""
    return ROOT / f"Dockerfile.{arch}"


def base_reference() -> str:
    """The base image that the Dockerfiles name: a reference pinned by digest."""
    lines = dockerfile("amd64").read_text().splitlines()
    return next(line for line in lines if line.startswith(_BASE)).removeprefix(_BASE)


def revision() -> str:
    """The commit of the checkout, `-dirty` where files differ from it; empty outside of git."""
    commit = _git("rev-parse", "HEAD")
    is_dirty = bool(commit) and bool(_git("status", "--porcelain", "--untracked-files=no"))
    return commit + "-dirty" * is_dirty


def commit_time_s() -> int:
    """When the checkout's commit was made, in seconds since 1970; 1980 outside of git."""
    text = _git("log", "-1", "--format=%ct")
    return int(text) if text.isdecimal() else _EPOCH_S


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
