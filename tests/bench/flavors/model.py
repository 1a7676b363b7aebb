"""One model in the three forms that are served: an ONNX bundle, a pipeline bundle, a logged model.

All come from the same transformers folder, whose end tokens are never the likeliest: an answer
has as many tokens as were asked for, on every side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import subject
from tests.bench.flavors.plan import PIPELINE, SLIM
from tests.bench.shapes import SHAPES
from tests.bench.subject import NoSubject

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "build" / "demo" / "weights"
NAME = "flavors"
DEMO_SHAPE = "demo"


@dataclass(frozen=True, slots=True)
class Made:
    """The model's transformers folder, its bundles by flavor, and where MLflow finds it."""

    weights: Path
    bundles: Mapping[str, Path]
    uri: str
    tracking_uri: str
    description: str


def weights(shape: str, dtype: str, folder: Path) -> Path:
    """A transformers folder: the demo's weights (`demo`) or random ones, of `dtype`."""
    from tests.bench import random_model

    target = folder / "weights"
    if shape == DEMO_SHAPE:
        shutil.copytree(DEMO, target)
        random_model.never_end(target, dtype)
    else:
        random_model.write_weights(SHAPES[shape], target)
        random_model.never_end(target, dtype)
    return target


def make(shape: str, dtype: str, folder: Path) -> Made:
    """Write, export and log the model below `folder`. Raises `NoSubject` or `BuildFailed`."""
    from build.demo import export

    source = weights(shape, dtype, folder)
    export.export(source, folder / "onnx")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    log = ("log-pipeline", source, "--name", NAME, "--register", "--alias", "bench")
    _build(folder, store, *log, "--temperature", 0, "--no-measure")
    uri = f"models:/{NAME}@bench"
    _build(folder, store, "export", uri, "--out", folder / PIPELINE)
    return Made(
        weights=source,
        bundles={
            SLIM: subject.export(folder / "onnx", folder / SLIM),
            PIPELINE: folder / PIPELINE,
        },
        uri=uri,
        tracking_uri=store,
        description=_description(shape, dtype, source),
    )


def _description(shape: str, dtype: str, source: Path) -> str:
    size = sum(path.stat().st_size for path in source.glob("*.safetensors")) / 1e6
    what = "the demo model" if shape == DEMO_SHAPE else f"random weights of the shape {shape}"
    return f"{what}, {size:,.1f} MB in {dtype}; for slim int4 in blocks of 128"


def _build(folder: Path, store: str, *words: object) -> None:
    """`python -m build WORDS`, run where the artifacts of the store belong."""
    done = subprocess.run(
        [sys.executable, "-m", "build", *map(str, words)],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoSubject(f"build {words[0]} failed:\n{done.stdout}{done.stderr}")
