"""The files that no package brings, and numpy's way from Debian's place to ours."""

from __future__ import annotations

import shutil
from pathlib import Path

USER_ID = 65532
# Debian's numpy is built on the reference BLAS and LAPACK: 8 MB less, compressed, than the wheel.
NUMPY_PACKAGES = ("python3-numpy_", "libblas3_", "liblapack3_", "libgfortran5_", "libquadmath0_")
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_WORLD_WRITABLE = 0o1777


def keep_only_copyright(doc: Path) -> None:
    """Of the packages' documentation the licences stay, and links to another package's."""
    for path in sorted(doc.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "copyright" and not (path.is_symlink() and path.parent == doc):
            path.unlink()


def write_etc(root: Path) -> None:
    """Users, name resolution, the release's name, folders for what is mutable."""
    etc = root / "etc"
    etc.mkdir(exist_ok=True)
    shell = "/nonexistent"
    (etc / "passwd").write_text(
        f"root:x:0:0:root:/:{shell}\nphial:x:{USER_ID}:{USER_ID}:phial:/app:{shell}\n"
    )
    (etc / "group").write_text(f"root:x:0:\nphial:x:{USER_ID}:\n")
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    shutil.copyfile("/etc/os-release", etc / "os-release")
    for name in ("app", "dev", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(_WORLD_WRITABLE)


def link_python(root: Path, version: str) -> None:
    """`python3` and `python` in /usr/bin."""
    for name, target in (("python3", f"python{version}"), ("python", "python3")):
        link = root / "usr/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def take_numpy(debian_root: Path, lib: Path, machine: str) -> None:
    """Replace the wheel's numpy in `lib` by the one of Debian's packages in `debian_root`."""
    for found in (lib / "numpy", lib / "numpy.libs", *lib.glob("numpy-*.dist-info")):
        shutil.rmtree(found)
    packages = debian_root / "usr/lib/python3/dist-packages"
    for found in (packages / "numpy", *packages.glob("numpy-*.egg-info")):
        found.rename(lib / found.name)
    libraries = debian_root / "usr/lib" / f"{machine}-linux-gnu"
    for name in ("blas", "lapack"):  # chosen by Debian's alternatives elsewhere
        for library in (libraries / name).glob(f"lib{name}.so.3*"):
            library.rename(libraries / library.name)
        shutil.rmtree(libraries / name)


def settle_modes(tree: Path) -> None:
    """Everything readable by all, writable by nobody but its owner, nothing executable."""
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
