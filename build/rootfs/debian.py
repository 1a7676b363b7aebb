"""Debian packages, unpacked and not installed: no script of theirs runs."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

STATUS = Path("var/lib/dpkg/status.d")  # where scanners look for the packages of distroless images
_MERGED = ("bin", "lib", "sbin")


def skeleton(root: Path, arch: str) -> None:
    """The merged-/usr links and the folders that packages expect."""
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    if arch == "amd64":
        (root / "usr/lib64").mkdir()
        (root / "lib64").symlink_to("usr/lib64")
    (root / STATUS).mkdir(parents=True)


def unpack(packages: Iterable[Path], root: Path) -> None:
    """Unpack each `.deb` below `root` and keep its control stanza."""
    for package in sorted(packages):
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as files:
            subprocess.run(
                ["tar", "--extract", "--keep-directory-symlink", "--directory", root],
                stdin=files.stdout,
                check=True,
            )
        if files.returncode:
            raise subprocess.CalledProcessError(files.returncode, f"dpkg-deb {package.name}")
        stanza = subprocess.check_output(["dpkg-deb", "--field", package], text=True)
        with package.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        # What package lists say of a package: so that the image can say it too.
        (root / STATUS / field(package, "Package")).write_text(f"{stanza}SHA256: {digest}\n")


def field(package: Path, name: str) -> str:
    """A field of a package's control stanza."""
    return subprocess.check_output(["dpkg-deb", "--field", package, name], text=True).strip()
