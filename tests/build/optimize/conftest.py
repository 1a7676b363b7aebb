"""The demo model in the ways that the model builder exports it, each made once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Logits = npt.NDArray[np.float32]
Exporter = Callable[..., Path]

CHAT = "<|user|>\nWhat is the capital of Spain?<|end|>\n<|assistant|>\n"
TEXT = "\n".join(
    f"<|user|>\nWhat is the capital of {country}?<|end|>\n<|assistant|>\nThe capital of {country} "
    f"is {capital}.<|end|>"
    for country, capital in [
        ("Spain", "Madrid"),
        ("France", "Paris"),
        ("Norway", "Oslo"),
        ("Italy", "Rome"),
        ("Japan", "Tokyo"),
        ("Kenya", "Nairobi"),
    ]
)


class Runner:
    """An onnxruntime-genai folder on that library's own generator."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai as og

        self._og = og
        self._model = og.Model(str(folder))
        self._tokenizer = og.Tokenizer(self._model)

    def logits(self, text: str) -> Logits:
        """All that a run over the whole text gives, shape (positions, vocabulary)."""
        params = self._og.GeneratorParams(self._model)
        ids = self._tokenizer.encode(text)
        params.set_search_options(max_length=len(ids) + 1, do_sample=False)
        generator = self._og.Generator(self._model, params)
        generator.append_tokens(ids)
        found: Logits = np.array(generator.get_output("logits"), dtype=np.float32)[0]
        return found

    def says(self, text: str, most_tokens: int = 24) -> str:
        """What follows the text, greedily."""
        params = self._og.GeneratorParams(self._model)
        ids = self._tokenizer.encode(text)
        params.set_search_options(max_length=len(ids) + most_tokens, do_sample=False)
        generator = self._og.Generator(self._model, params)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        said: str = self._tokenizer.decode(generator.get_sequence(0)[len(ids) :])
        return said


@pytest.fixture(scope="session")
def weights(repository: Path) -> Path:
    """The demo model as a Hugging Face folder."""
    return repository / "build" / "demo" / "weights"


@pytest.fixture(scope="session")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """`exported("int4", block_size="64")` is the folder of that export."""
    pytest.importorskip("torch", reason="the model builder needs torch")
    from build.optimize import exporter

    @functools.cache
    def make(precision: str, options: tuple[tuple[str, str], ...]) -> Path:
        folder = tmp_path_factory.mktemp("exported") / "model"
        exporter.export(weights, folder, dict(options), precision)
        return folder

    return lambda precision, **options: make(precision, tuple(sorted(options.items())))


@pytest.fixture(scope="session")
def stock(exported: Exporter) -> Path:
    """int4 in blocks of 32, embeddings in fp32, logits of every position."""
    return exported("int4")


@pytest.fixture(scope="session")
def plain(exported: Exporter) -> Path:
    """Nothing quantized at all."""
    return exported("fp32")


@pytest.fixture
def opened() -> Callable[[Path], Any]:
    """Opens the graph of a folder to be changed."""
    from build.optimize.graph import Graph
    from build.optimize.source import read_config

    return lambda folder: Graph(folder, read_config(folder))


@pytest.fixture
def retuned(tmp_path: Path) -> Callable[[Path, str], Path]:
    """`retuned(folder, "b128+head")` is the folder changed so."""
    from build.optimize import retune, variant
    from build.optimize.source import read_config

    def make(folder: Path, name: str) -> Path:
        out = tmp_path / name
        ids = tuple(range(20, 84))
        retune.write(folder, read_config(folder), variant.parse(name), ids, out)
        return out

    return make


@pytest.fixture(scope="session")
def runner() -> Callable[[Path], Runner]:
    """Loads a folder to run it."""
    return Runner


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """Some chats as the demo model learnt them."""
    path = tmp_path / "chats.txt"
    path.write_text(TEXT)
    return path
