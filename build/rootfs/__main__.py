"""`python3 -m build.rootfs`: three trees, from what changes least to what changes most.

OUT/system: Debian's libraries and Python; OUT/libraries: wheels in /app/lib (those of torch in
OUT/torch); OUT/appliance: /app/edge. Each becomes a layer of its own, so that an update moves only
what changed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from build.rootfs import bytecode, contents, debian, files, pipeline, wheels

_GENAI = "onnxruntime_genai/libonnxruntime-genai.so"


def main(argv: Sequence[str] | None = None) -> int:
    """Assemble the trees; returns the exit status."""
    args = parser().parse_args(argv)
    is_pipeline = args.variant == "pipeline"
    names = ("system", *(["torch"] if is_pipeline else []), "libraries", "appliance")
    trees = {name: args.out / name for name in names}
    for tree in trees.values():
        tree.mkdir(parents=True)
    packages = sorted((args.downloads / "debian" / args.arch).glob("*.deb"))
    if args.numpy == "wheel":
        packages = [path for path in packages if not path.name.startswith(files.NUMPY_PACKAGES)]
    debian.skeleton(trees["system"], args.arch)
    debian.unpack(packages, trees["system"])
    if is_pipeline:
        pipeline.fill(trees, trees["system"], args)
    else:
        libraries(trees["libraries"], trees["system"], args)
    system(trees["system"], pipeline.SYSTEM_KEPT if is_pipeline else contents.SYSTEM_KEPT)
    appliance(trees["appliance"], args.sources)
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    whole = argparse.ArgumentParser(prog="python3 -m build.rootfs", description=__doc__)
    add = whole.add_argument
    add("--arch", required=True, help="Debian's name of the architecture: amd64, arm64")
    add("--machine", required=True, help="the kernel's name of it: x86_64, aarch64")
    add("--numpy", choices=("debian", "wheel"), default="debian", help="where numpy comes from")
    add("--variant", choices=("slim", "pipeline"), default="slim", help="what serves: see docs")
    add("--downloads", required=True, type=Path, help="what download.sh filled")
    add("--sources", required=True, type=Path, help="the checkout, or as much of it as is needed")
    add("--out", required=True, type=Path)
    return whole


def system(root: Path, kept: Sequence[str]) -> None:
    """Debian's part: Python's runtime, its libraries, users, licences."""
    files.keep_only_copyright(root / "usr/share/doc")
    contents.remove(root, contents.SYSTEM_LEFT_OUT, kept=kept, py=wheels.PYTHON)
    files.write_etc(root)
    files.link_python(root, wheels.PYTHON)
    bytecode.replace_sources(root / "usr/lib" / f"python{wheels.PYTHON}", root)


def libraries(tree: Path, debian_root: Path, args: argparse.Namespace) -> None:
    """The wheels, and numpy from wherever it comes."""
    lib = tree / "app/lib"
    lib.mkdir(parents=True)
    requirements = args.sources / "requirements/edge.txt"
    wheels.install(requirements, args.machine, args.downloads / "wheels" / args.arch, lib)
    if args.numpy == "debian":
        files.take_numpy(debian_root, lib, args.machine)
    contents.remove(lib, contents.LIBRARIES_LEFT_OUT, kept=contents.LIBRARIES_KEPT)
    # Only this one: libraries that auditwheel has patched, such as numpy's, do not survive it.
    strip = f"{args.machine}-linux-gnu-strip"
    subprocess.run([strip, "--strip-unneeded", lib / _GENAI], check=True)
    bytecode.replace_sources(lib, tree)
    files.settle_modes(tree)


def appliance(root: Path, sources: Path) -> None:
    """The appliance itself and its licence."""
    app = root / "app"
    shutil.copytree(sources / "edge", app / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(sources / "LICENSE", app / "LICENSE")
    bytecode.replace_sources(app, root)
    files.settle_modes(root)


if __name__ == "__main__":
    sys.exit(main())
