"""A control group with a CPU quota, and commands that run in it as in a container.

Files as in the kernel's documentation: `cpu.cfs_quota_us` and `cpu.cfs_period_us` of cgroup v1,
`cpu.max` of v2. A process inside sees the group where a container sees its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
# $1 is where the group's folder is to appear; what follows is the command.
_ENTER = 'echo $$ >"$0/cgroup.procs" && mount --bind "$0" "$1" && shift && exec "$@"'


class NoGroup(Exception):
    """No group can be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class Group:
    """`folder` is the group's; `seen` is where a process inside looks for its own limits."""

    folder: Path
    seen: Path

    def inside(self, command: list[str]) -> list[str]:
        """`command`, run in the group and with the group's folder at `seen`."""
        enter = ["sh", "-c", _ENTER, str(self.folder), str(self.seen)]
        return ["unshare", "--mount", "--propagation", "private", *enter, *command]


@contextmanager
def limited(cores: float, root: Path = ROOT) -> Iterator[Group]:
    """A new group that may use `cores`, removed at the end. Raises `NoGroup`."""
    quota_us = int(cores * PERIOD_US)
    group = _group(root, f"phial-bench-{os.getpid()}-{quota_us}")
    try:
        try:
            group.folder.mkdir()
            _limit(group.folder, quota_us)
        except OSError as error:
            raise NoGroup(f"{group.folder} cannot be made: {error.strerror}") from error
        yield group
    finally:
        with suppress(OSError):  # its processes have ended; a busy group would stay, and be empty
            group.folder.rmdir()


def _group(root: Path, name: str) -> Group:
    """Where the group is to be: below v1's `cpu` hierarchy, else below v2's root."""
    if shutil.which("unshare") is None:
        raise NoGroup("unshare (of util-linux) is not there")
    if (root / "cpu" / "cgroup.procs").exists():
        return Group(root / "cpu" / name, root / "cpu")
    if "cpu" in _controllers(root):
        return Group(root / name, root)
    raise NoGroup(f"neither cgroup v1 nor v2 has a CPU controller below {root}")


def _controllers(root: Path) -> list[str]:
    path = root / "cgroup.subtree_control"
    return path.read_text().split() if path.exists() else []


def _limit(folder: Path, quota_us: int) -> None:
    if (folder / "cpu.cfs_quota_us").exists():
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
    else:
        (folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
