"""The folders of a model: weights, tokenizer and adapter lie apart in an MLflow model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build.errors import InvalidModel
from build.findings import Findings
from build.genai_config import leaves
from build.options import Options
from build.pipeline import hub
from build.pipeline.flavor import CONFIG, Flavor
from build.source import Source

TOKENIZER_FOLDER = "components/tokenizer"


@dataclass(frozen=True, slots=True)
class Places:
    """`weights` holds config.json and the weights; `adapter` is None without a PEFT adapter.

    `root` is what was exported: the MLflow model, or the bare folder. All files must lie in one
    of these, `homes`, or for a snapshot of the hub's cache in that repository's cache.
    """

    root: Path
    weights: Path
    tokenizer: Path
    adapter: Path | None = None

    @property
    def homes(self) -> dict[Path, Path]:
        """Each folder with the one that its links may not leave."""
        folders = (self.root, self.weights, self.tokenizer)
        return {folder: _home(folder) for folder in dict.fromkeys(folders)}


def find(source: Source, flavor: Flavor, options: Options) -> Places:
    """Look the folders up; raises `InvalidModel` with every one that is absent."""
    problems: list[str] = []
    root = source.folder
    weights = _weights(root, flavor, options, problems)
    tokenizer = _tokenizer(root, flavor, options, weights, problems)
    adapter = _inside(root, flavor.peft, problems) if flavor.peft else None
    if adapter is not None and not adapter.is_dir():
        problems.append(f"MLmodel names an adapter in {flavor.peft}/, which is not in the model")
    if weights is None or problems:
        raise InvalidModel(problems)
    return Places(root, weights, tokenizer or weights, adapter)


def note(flavor: Flavor, findings: Findings) -> None:
    """Say where weights that the model only names came from."""
    if flavor.base:
        findings.shims.append(f"the weights were taken from the folder {Path(flavor.base).name}")
    elif not flavor.weights:
        at = f" at {flavor.revision[:12]}" if flavor.revision else ""
        findings.shims.append(f"the weights were taken from {flavor.source}{at}, of the hub")


def _weights(root: Path, flavor: Flavor, options: Options, problems: list[str]) -> Path | None:
    if not flavor.weights:
        try:
            return hub.locate(flavor.base or flavor.source, flavor.revision, options)
        except InvalidModel as error:
            problems += error.problems
            return None
    place = _inside(root, flavor.weights, problems)
    if place is None:
        return None
    if not (place / CONFIG).is_file():
        problems.append(
            f"the model has no {_shown(flavor.weights)}{CONFIG}: its weights were not saved with it"
        )
        return None
    return place


def _tokenizer(
    root: Path, flavor: Flavor, options: Options, weights: Path | None, problems: list[str]
) -> Path | None:
    place = root / TOKENIZER_FOLDER
    if place.is_dir() or not flavor.tokenizer_source:
        return place if place.is_dir() else weights
    if (flavor.tokenizer_source, flavor.tokenizer_revision) == (flavor.source, flavor.revision):
        return weights
    try:
        return hub.locate(flavor.tokenizer_source, flavor.tokenizer_revision, options)
    except InvalidModel as error:
        problems += error.problems
        return None


def _inside(root: Path, name: str, problems: list[str]) -> Path | None:
    place = root / name
    if leaves(name) or not place.resolve().is_relative_to(root.resolve()):
        problems.append(f"MLmodel names the folder {name!r}, which leaves the model's folder")
        return None
    return place


def _home(folder: Path) -> Path:
    """In the hub's cache a snapshot is links to the repository's blobs."""
    repository = folder.resolve().parent.parent
    is_snapshot = folder.resolve().parent.name == "snapshots" and (repository / "blobs").is_dir()
    return repository if is_snapshot else folder


def _shown(name: str) -> str:
    return "" if name == "." else f"{name}/"
