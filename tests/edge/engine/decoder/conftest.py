"""Engines and their references: on the model in the box and on random ones of other shapes."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest

from edge.engine.decoder.engine import DecoderEngine
from tests.edge.engine.decoder import driving


class Pair(NamedTuple):
    """The engine under test and what judges it, on the same model."""

    engine: DecoderEngine
    reference: driving.Reference


@pytest.fixture(scope="session")
def exports(repository: Path, demo_model: Path, tmp_path_factory) -> Path:
    """The folder of all the exports that `families` makes."""
    folder = tmp_path_factory.mktemp("families")
    command = [sys.executable, "-m", "tests.edge.engine.decoder.families", str(folder)]
    done = subprocess.run(
        [*command, str(demo_model / "tokenizer.json")],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


@pytest.fixture(scope="session")
def exact_model(demo_model: Path, tmp_path_factory) -> Path:
    """The model in the box, told to keep activations as floats: its logits then depend on nothing
    but the tokens, to six digits, however the work is cut."""
    folder = tmp_path_factory.mktemp("models") / "exact"
    shutil.copytree(demo_model, folder)
    path = folder / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    path.unlink()
    onnx.save(model, path)
    return folder


@pytest.fixture(scope="session")
def paired() -> Callable[..., Pair]:
    """Loads a model on both sides, once; the engine keeps `prefixes` sequences that have ended."""

    @functools.cache
    def load(folder: Path, prefixes: int = 0) -> Pair:
        return Pair(driving.load(folder, prefixes=prefixes), driving.Reference(folder))

    return load


@pytest.fixture
def exact(paired, exact_model: Path) -> Pair:
    """Both sides on the model in the box, with float activations."""
    return paired(exact_model)


@pytest.fixture
def fast(exact: Pair) -> DecoderEngine:
    """The engine on the model in the box, empty before and after."""
    assert exact.engine._rows == []
    exact.engine._pace = driving.Fixed(32)
    return exact.engine
