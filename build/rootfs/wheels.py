"""Wheels of the target platform, by pip: downloaded on this machine, installed into a folder.

Every wheel must have a hash that the locked requirements list; nothing is built or run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PYTHON = "3.11"
# Debian 12 has glibc 2.36: the image runs wheels of every manylinux policy up to that.
_GLIBC_MINORS = range(36, 16, -1)

# PyPI's builds of torch for x86-64 are those for GPUs.
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def download(
    requirements: Path, machine: str, into: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Fill `into` with the wheels of the locked `requirements` for `machine` (x86_64, aarch64).

    `environment` is added to pip's own. Raises `CalledProcessError`.
    """
    words = (
        *_target(machine),
        *_locked(requirements),
        *_indexes(requirements),
        "--dest",
        str(into),
    )
    _pip("download", *words, environment=environment)


def install(requirements: Path, machine: str, wheels: Path, into: Path) -> None:
    """Unpack the downloaded `wheels` into the folder `into`, without the network."""
    offline = ("--no-index", "--find-links", str(wheels), "--no-compile")
    _pip("install", *_target(machine), *_locked(requirements), *offline, "--target", str(into))


def _target(machine: str) -> list[str]:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS]
    abis = ("cp" + PYTHON.replace(".", ""), "abi3", "none")
    return [
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
        *(word for abi in abis for word in ("--abi", abi)),
        *(word for one in (*platforms, f"manylinux2014_{machine}") for word in ("--platform", one)),
    ]


def _locked(requirements: Path) -> list[str]:
    return ["--no-deps", "--require-hashes", "--requirement", str(requirements)]


def _indexes(requirements: Path) -> list[str]:
    is_torch = requirements.name.startswith("torch-")
    return ["--extra-index-url", _TORCH_INDEX] if is_torch else []


def _pip(command: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
    # Debian ships pip as a wheel, which runs as it is.
    found = sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))
    pip = [sys.executable, str(found[-1] / "pip")] if found else [sys.executable, "-m", "pip"]
    quiet = ("--quiet", "--disable-pip-version-check")
    known = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", **(environment or {})}
    subprocess.run([*pip, command, *quiet, *arguments], check=True, env=known)


def main(argv: Sequence[str] | None = None) -> int:
    """`download` from the command line, for `download.sh`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["download"])
    parser.add_argument("--machine", required=True)
    parser.add_argument("--requirements", required=True, type=Path)
    parser.add_argument("into", type=Path)
    args = parser.parse_args(argv)
    try:
        download(args.requirements, args.machine, args.into)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
