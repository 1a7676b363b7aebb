"""Python sources become bytecode beside them: nothing is compiled, or written, at run time.

Unchecked hash-based files (PEP 552) hold no time stamp, so that equal sources give equal bytes;
and one process compiles them all in order, since what it has seen before shows in the marshalled
references. Docstrings and asserts are left out, which saves an idle appliance 4 MB.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
from pathlib import Path


def replace_sources(folder: Path, root: Path) -> None:
    """Compile every `.py` below `folder` to a `.pyc` in its place, as seen from inside `root`.

    Raises `RuntimeError` where a file does not compile.
    """
    compiled = compileall.compile_dir(
        str(folder),
        quiet=1,
        force=True,
        legacy=True,
        workers=1,
        stripdir=str(root),
        prependdir="/",
        optimize=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise RuntimeError(f"not everything below {folder} compiles")
    for source in folder.rglob("*.py"):
        source.unlink()
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
