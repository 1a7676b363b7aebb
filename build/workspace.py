"""A folder beside the output to build it in, so that the output appears whole or not at all.

`PARENT/.NAME.phial-XXXXXX/` holds `lock`, on which its owner keeps an flock. A process that dies
drops the lock with it; whoever comes next finds the folder unlocked and removes it. Until then
no reader is misled: the output is only ever renamed into place.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from build.errors import OutputRefused

_LOCK = "lock"
_OLD = "old"
_UNLOCKED_S = 60  # a folder this old without a lock belongs to a process that died
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV)


@contextmanager
def beside(output: Path) -> Iterator[Path]:
    """A fresh folder on the file system of `output`; it and stale ones are removed.

    Raises `OutputRefused` where the parent cannot be written.
    """
    output = output.absolute()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        sweep(output)
        made = Path(tempfile.mkdtemp(prefix=_prefix(output), dir=output.parent))
    except OSError as error:
        raise OutputRefused(f"cannot write beside {output}: {error.strerror}") from error
    with (made / f"{_LOCK}.new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / f"{_LOCK}.new").rename(made / _LOCK)  # never seen unlocked
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def sweep(output: Path) -> None:
    """Remove what killed exports to `output` left; put back an old output that was set aside."""
    for folder in sorted(output.parent.glob(f"{glob.escape(_prefix(output))}*")):
        with suppress(FileNotFoundError), _abandoned(folder) as is_abandoned:
            if not is_abandoned:
                continue
            if (folder / _OLD).is_dir() and not output.exists():
                (folder / _OLD).rename(output)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether nobody owns the workspace `folder`; true only for whoever holds its lock."""
    if not (folder / _LOCK).exists():
        yield time.time() - folder.stat().st_mtime > _UNLOCKED_S
        return
    with (folder / _LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def publish(made: Path, output: Path, *, replace: bool) -> None:
    """Rename the folder `made`, inside a workspace, to `output`.

    With `replace` what was there goes away: the two swap in one step, so that there is a whole
    folder at every moment; file systems that cannot swap get two renames, which `sweep` can
    finish. Without it a folder that is not empty stays, and `OSError` is raised.
    """
    sync(made.parent)
    if not (replace and output.exists()):
        made.rename(output)
    elif not _exchange(made, output):
        output.rename(made.parent / _OLD)
        made.rename(output)
    sync(output.parent)


def sync(path: Path) -> None:
    """Have the file or folder `path` on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(output: Path) -> str:
    return f".{output.name}.phial-"


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths by renameat2(2); False where kernel or file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    failed = libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    number = ctypes.get_errno()
    if failed and number not in _NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(other))
    return not failed
