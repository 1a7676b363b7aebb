"""llama.cpp's sources: vendored in the source distribution of llama-cpp-python, fetched once."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
FOLDER = f"llama_cpp_python-{VERSION}"


class NoPeer(Exception):
    """llama.cpp cannot be measured here; the text says what is missing."""


def cache() -> Path:
    """Where sources, builds and models are kept: outside of the checkout, as XDG has it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "phial-bench"


def fetch(folder: Path) -> Path:
    """The folder of llama.cpp's sources below the cache `folder`. Raises `NoPeer`.

    pip reads the metadata of the distribution, for which it builds in an environment of its own:
    it needs a package index, and nothing is installed.
    """
    sources = folder / FOLDER / "vendor" / "llama.cpp"
    if not (sources / "CMakeLists.txt").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _unpack(_download(folder), folder)
    if not (sources / "CMakeLists.txt").is_file():
        raise NoPeer(f"{PACKAGE} {VERSION} holds no vendor/llama.cpp")
    return sources


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    command += ["--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / f"{FOLDER}.tar.gz"
    if done.returncode or not archive.is_file():
        raise NoPeer(f"pip cannot download {PACKAGE} {VERSION}:\n{done.stderr[-1000:]}")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside the place and move there: what exists is whole."""
    part = folder / f"{FOLDER}.part"
    with tarfile.open(archive) as members:
        members.extractall(part, filter="data")
    (part / FOLDER).rename(folder / FOLDER)
    part.rmdir()
    archive.unlink()
