"""Python sources become bytecode: nothing is compiled, or written, at run time.

Unchecked hash-based files (PEP 552) hold no time stamp, so that equal sources give equal bytes;
and one process compiles them all in order, since what it has seen before shows in the marshalled
references.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

SMALL, WITH_DOCSTRINGS = 2, 1  # levels, as PYTHONOPTIMIZE has them; neither has asserts
_NOTHING = re.compile(r"(?!)")


def replace_sources(
    folder: Path, root: Path, *, level: int = SMALL, kept: Iterable[Path] = ()
) -> None:
    """Compile every `.py` below `folder` to a `.pyc` in its place, as seen from inside `root`.

    Without docstrings an idle appliance is 4 MB smaller. The folders `kept` stay as they are.
    Raises `RuntimeError` where a file does not compile.
    """
    spared = tuple(kept)
    within = "|".join(re.escape(f"{path}/") for path in spared)
    skipped = re.compile(within) if spared else _NOTHING
    _compile(folder, root, legacy=True, level=level, skipped=skipped)
    for source in list(folder.rglob("*.py")):
        if not _is_within(source, spared):
            source.unlink()
    for cache in list(folder.rglob("__pycache__")):
        if not _is_within(cache, spared):
            shutil.rmtree(cache)


def add(folder: Path, root: Path, *, skipped: re.Pattern[str] = _NOTHING) -> None:
    """Compile every `.py` below `folder` beside itself, for `PYTHONOPTIMIZE=1`.

    Files whose path `skipped` finds get no bytecode. Raises `RuntimeError`.
    """
    _compile(folder, root, legacy=False, level=WITH_DOCSTRINGS, skipped=skipped)


def _compile(
    folder: Path, root: Path, *, legacy: bool, level: int, skipped: re.Pattern[str]
) -> None:
    compiled = compileall.compile_dir(
        str(folder),
        quiet=1,
        force=True,
        legacy=legacy,
        workers=1,
        rx=skipped,
        stripdir=str(root),
        prependdir="/",
        optimize=level,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise RuntimeError(f"not everything below {folder} compiles")


def _is_within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
