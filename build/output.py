"""Files and folders that appear whole or not at all, and never over something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build import workspace
from build.errors import OutputRefused

_LAYOUT = "oci-layout"


def check_file(path: Path, *, force: bool) -> None:
    """Refuse a `path` that is no file, or without `force` one; raises `OutputRefused`."""
    if path.exists() and not path.is_file():
        raise OutputRefused(f"{path} is not a file: it is left as it is")
    if path.is_file() and not force:
        raise OutputRefused(f"{path} is there already; --force replaces it")


def check_layout(path: Path, *, force: bool) -> None:
    """Refuse a folder that holds something; with `force` an image layout is replaced.

    Raises `OutputRefused`.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputRefused(f"{path} is not a folder: it is left as it is")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / _LAYOUT).is_file():
        raise OutputRefused(f"{path} is not empty and no image layout: it is left as it is")
    if not force:
        raise OutputRefused(f"{path} holds an image layout already; --force replaces it")


@contextmanager
def whole(path: Path, *, replace: bool) -> Iterator[Path]:
    """A place to make a file or folder, which then becomes `path`; an error leaves `path` alone.

    Raises `OutputRefused` where it cannot be written.
    """
    try:
        with workspace.beside(path) as work:
            made = work / "made"
            yield made
            for part in (made, *made.rglob("*")):
                workspace.sync(part)
            workspace.publish(made, path, replace=replace)
    except OSError as error:
        raise OutputRefused(f"cannot write {path}: {error.strerror or error}") from error
