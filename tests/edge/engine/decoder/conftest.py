"""Engines and their references: on the model in the box and on random ones of other shapes."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest

from build import positions
from build.optimize import retune, source, variant
from edge.engine.decoder.engine import DecoderEngine
from tests import adapting
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
def adapting_model(demo_model: Path, tmp_path_factory) -> Path:
    """The model in the box with float activations and LoRA inputs, and two adapters beside it."""
    return adapting.copy(demo_model, tmp_path_factory.mktemp("adapting") / "model")


@pytest.fixture(scope="session")
def paired() -> Callable[..., Pair]:
    """Loads a model on both sides, once; `prefixes` and `speculates` are the engine's."""

    @functools.cache
    def load(folder: Path, **settings: int) -> Pair:
        return Pair(driving.load(folder, **settings), driving.Reference(folder))

    return load


@pytest.fixture
def exact(paired, exact_model: Path) -> Pair:
    """Both sides on the model in the box, with float activations."""
    return paired(exact_model)


@pytest.fixture
def fast(exact: Pair) -> DecoderEngine:
    """The engine on the model in the box, empty before and after."""
    assert exact.engine._placement.rows == []
    exact.engine._pace = driving.Fixed(32)
    return exact.engine


@pytest.fixture(scope="session")
def opened(tmp_path_factory) -> Callable[[Path], Path]:
    """A copy of a model that can be asked for the logits of any token."""

    @functools.cache
    def copy(folder: Path) -> Path:
        target = tmp_path_factory.mktemp("opened") / folder.name
        shutil.copytree(folder, target)
        with contextlib.suppress(positions.NotPruned):  # gives them all anyway
            positions.choose(target / "model.onnx")
        return target

    return copy


@pytest.fixture(scope="session")
def verifying_model(exact_model: Path, opened: Callable[[Path], Path]) -> Path:
    """The model in the box with float activations, which gives the logits it is asked for."""
    return opened(exact_model)


@pytest.fixture(scope="session")
def quarter_model(exact_model: Path, tmp_path_factory) -> Path:
    """The model in the box with float activations and a KV cache in int8."""
    folder = tmp_path_factory.mktemp("models") / "quarter"
    config = source.read_config(exact_model)
    retune.write(exact_model, config, variant.parse("kv8"), tuple(range(20, 84)), folder)
    return folder
