"""Where a model's files are, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from build.errors import SourceNotFound
from build.options import Stores
from edge.bundle import Lineage


@dataclass(frozen=True, slots=True)
class Location:
    """An artifact URI (or a folder) that holds a model's files.

    `stores` are those that were asked, both URIs filled in.
    """

    uri: str
    lineage: Lineage
    name: str
    stores: Stores = field(default_factory=Stores)


@dataclass(frozen=True, slots=True)
class Source:
    """A model's files in `folder`, an MLflow model or a bare folder of ONNX or Hugging Face.

    `is_ours`: they were downloaded, so they may be moved instead of copied. `left_behind` names
    the files that the store has and that were not fetched.
    """

    folder: Path
    lineage: Lineage
    name: str
    is_ours: bool = False
    left_behind: tuple[str, ...] = ()


def local(folder: Path) -> Source:
    """A folder of this machine; its lineage names it without its place.

    Raises `SourceNotFound` where it is none.
    """
    if not folder.is_dir():
        raise SourceNotFound(f"{str(folder)!r} is neither a folder nor a model's URI")
    name = folder.resolve().name
    return Source(folder, Lineage(source_uri=name, resolved_uri=name), name)
