"""The model that is measured: as an onnxruntime-genai folder and as a bundle."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from build import genai_config, weights
from build.findings import Findings
from edge import bundle
from tests.bench.shapes import SHAPES

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bench"
CONFIG = genai_config.NAME


class NoSubject(Exception):
    """There is no such model to measure; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A bundle to measure. `description` names its type, size and quantization."""

    bundle: Path
    name: str
    description: str
    parameters: int
    vocab_size: int
    context_length: int
    eos_ids: tuple[int, ...]

    @property
    def folder(self) -> Path:
        """Its onnxruntime-genai folder."""
        return self.bundle / bundle.MODEL_FOLDER

    @property
    def ordinary_ids(self) -> npt.NDArray[np.int64]:
        """The ids that a prompt may hold: all but those that end an answer."""
        return np.setdiff1d(np.arange(self.vocab_size), self.eos_ids)


def of_shape(shape: str, folder: Path | None = None) -> Path:
    """The folder of the random model of `shape`; it is made where it does not exist yet."""
    folder = folder or CACHE / shape / "model"
    if not (folder / CONFIG).exists():
        from tests.bench import random_model

        random_model.make(SHAPES[shape], folder)
    return folder


def stock_of_shape(shape: str) -> Path:
    """As `of_shape`, but exported with the model builder's own options: int4 and no more."""
    folder = CACHE / shape / "stock"
    if not (folder / CONFIG).exists():
        from tests.bench import random_model

        random_model.make(SHAPES[shape], folder, {})
    return folder


def export(folder: Path, out: Path) -> Path:
    """Write a bundle of the onnxruntime-genai `folder` to `out`. Raises `NoSubject`."""
    command = [sys.executable, "-m", "build", "export", str(folder), "--out", str(out), "--force"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoSubject(f"{folder} cannot be exported:\n{done.stdout}{done.stderr}")
    return out


def open_(folder: Path) -> Subject:
    """The subject in the bundle `folder`. Raises `edge.errors.StartupError` or `NoSubject`."""
    opened = bundle.read(folder)
    findings = Findings()
    config = genai_config.read(opened.model_folder, findings)
    if config is None:
        raise NoSubject(f"{folder}: {'; '.join(findings.problems)}")
    stored = weights.read(opened.model_folder / config.decoder)
    return Subject(
        bundle=folder,
        name=opened.manifest.name,
        description=(
            f"{config.model_type}, {stored.parameters / 1e6:,.1f} M parameters, {config.layers} "
            f"layers, weights {stored.precision} in blocks of {stored.block_size}, embeddings "
            f"{stored.embedding_precision}, KV cache fp32"
        ),
        parameters=stored.parameters,
        vocab_size=config.vocab_size,
        context_length=opened.manifest.context_length,
        eos_ids=opened.manifest.eos_ids,
    )
