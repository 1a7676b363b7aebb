"""Programs that tests measure against: installed, or fetched by scripts/tools."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / ".cache" / "tools"
FOLDERS = ("usr/bin", "usr/sbin")


def find(name: str) -> str:
    """The program's path; skips the test where there is none."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", *(str(TOOLS / f) for f in FOLDERS)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is missing: run scripts/tools, or install it")
    return found


def libraries() -> dict[str, str]:
    """The environment in which a fetched program finds the libraries that came with it."""
    folders = [str(path) for path in sorted(TOOLS.glob("usr/lib/*-linux-gnu"))]
    return (
        {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {**os.environ}
    )
