"""The cgroups this process is in: a limit on its own group or on any above it counts.

`/proc/self/cgroup` names the group in each hierarchy, `/proc/self/mountinfo` where a hierarchy is
mounted and which group is seen there as its root (proc(5), cgroups(7)). In a container that is
the group with the container's limits, whatever its path is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

V2 = ""  # cgroup v2 has one hierarchy, and its entries name no controller
_USUAL = Path("sys/fs/cgroup")
_TOP = PurePosixPath("/")


def folders(root: Path, controller: str) -> Iterator[Path]:
    """The folder of each group that this process is in, its own first, the topmost seen last.

    `controller` is `V2` or the name of one of cgroup v1. Folders need not exist.
    """
    mount, shown = _mount(root, controller)
    own = _group(root, controller)
    # A namespace hides the names above its root: then the root is all there is to see.
    below = own.relative_to(shown) if own.is_relative_to(shown) else PurePosixPath()
    for group in (below, *below.parents):
        yield mount / group


def read(path: Path) -> str:
    """The file's content without white space around it; "" where it cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _group(root: Path, controller: str) -> PurePosixPath:
    """The path of this process's group, from lines such as `4:cpu,cpuacct:/docker/1f`."""
    for line in read(root / "proc/self/cgroup").splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        if controller in names.split(",") and ".." not in path:
            return _TOP / path
    return _TOP


def _mount(root: Path, controller: str) -> tuple[Path, PurePosixPath]:
    """Where the hierarchy is mounted, and the group that is its root there.

    From lines such as `33 31 0:30 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu`.
    """
    for line in read(root / "proc/self/mountinfo").splitlines():
        front, _, back = line.partition(" - ")
        place, kind = front.split(), back.split()
        if len(place) > 4 and len(kind) > 2 and _is_of(controller, kind):
            return root / place[4].lstrip("/"), _TOP / place[3]
    return root / _USUAL / controller, _TOP


def _is_of(controller: str, kind: list[str]) -> bool:
    if controller == V2:
        return kind[0] == "cgroup2"
    return kind[0] == "cgroup" and controller in kind[2].split(",")
