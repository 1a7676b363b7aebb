"""`python -m build verify DIR`: is this bundle what its manifest says, to the last byte?"""

from __future__ import annotations

import argparse
from pathlib import Path

from build import options
from build.errors import EXIT_OK


def add_parser(commands: options.Commands) -> None:
    """Add `verify` to the command line."""
    parser = commands.add_parser("verify", help="hash a bundle's files again")
    parser.add_argument("folder", type=Path, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Hash every file again; raises `InvalidBundle` with every difference."""
    from build import bundle

    found = bundle.open_(args.folder, whole=True)
    files = found.manifest.files
    size = sum(file.size_bytes for file in files)
    print(f"{found.manifest.name}: {len(files)} files, {size:,} bytes, all as sealed")
    print(f"manifest sha256 {found.sha256}")
    return EXIT_OK
