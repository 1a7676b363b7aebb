"""Which files of a model folder go into the bundle, and whether they can."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from build import genai_config
from build.decoder import Decoder
from build.findings import Findings
from build.genai_config import GenaiConfig, leaves

# By name, in any case: the tokenizer, the papers, and adapters. The graph and its weights are
# named by genai_config.json and by the graph itself.
_SERVED = (
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "license*",
    "licence*",
    "notice*",
    "readme*",
    "model_card*",
    "*.onnx_adapter",
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MAY_BE_EMPTY = ("merges.txt", "added_tokens.json")


def select(
    folder: Path, config: GenaiConfig, decoder: Decoder | None, apart: Collection[Path] = ()
) -> tuple[str, ...]:
    """Paths to serve, relative to `folder` and sorted; those that exist and stay inside.

    What is kept `apart` (resolved paths) goes into the bundle in another way.
    """
    named = {
        genai_config.NAME,
        *config.filenames.values(),
        *(decoder.weight_files if decoder else ()),
    }
    inside = {PurePosixPath(name).as_posix() for name in named if not leaves(name)}
    beside = {path.name for path in folder.iterdir() if _is_served(path.name)}
    there = (name for name in inside | beside if (folder / name).is_file())
    return tuple(sorted(name for name in there if (folder / name).resolve() not in apart))


def check(folder: Path, names: tuple[str, ...], findings: Findings) -> None:
    """Report links that leave the folder and files that are empty or only pointers."""
    findings.problems += [*link_problems(folder, folder), *file_problems(folder, names)]


def _is_served(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _SERVED)


def link_problems(folder: Path, home: Path) -> Iterator[str]:
    """Links of `folder` that leave `home`, the folder itself or one around it."""
    root = home.resolve()
    for parent, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            path = Path(parent) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                shown = path.relative_to(folder).as_posix()
                yield f"{shown} is a link that leaves the model's folder"


def file_problems(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Files of `folder` that are empty or pointers to what is kept elsewhere."""
    for name in names:
        path = folder / name
        if path.stat().st_size == 0 and name not in _MAY_BE_EMPTY:
            yield f"{name} is empty"
        elif is_lfs_pointer(path):
            yield f"{name} is a Git LFS pointer, not the file: run `git lfs pull` and log again"


def is_lfs_pointer(path: Path) -> bool:
    """Whether `path` holds a pointer of Git LFS instead of its content."""
    with path.open("rb") as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER
