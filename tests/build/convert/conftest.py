"""The demo model as it is before a conversion: a bundle, a running parent, and what is asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from build.convert.likeness import Task
from build.demo import corpus, layout
from build.optimize import exporter, subjects
from build.optimize.subjects import Subject
from edge.bundle import Bundle, Defaults, Lineage, Manifest, Signature
from tests.build.pipeline_logging import (  # noqa: F401  fixtures
    demo_pipeline,
    demo_weights,
    logged_pipeline,
)

SPAIN = "What is the capital of Spain?"
LINEAGE = Lineage(
    source_uri="models:/phi3-chat@champion",
    resolved_uri="models:/phi3-chat/3",
    model_name="phi3-chat",
    model_version="3",
    alias="champion",
    model_id="m-0123456789abcdef0123456789abcdef",
    run_id="0123456789abcdef0123456789abcdef",
)


@pytest.fixture(scope="session")
def weights(repository: Path) -> Path:
    """The demo model as a Hugging Face folder."""
    return repository / "build" / "demo" / "weights"


@pytest.fixture(scope="session")
def pipeline_bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed chat pipeline with defaults that differ from everybody's own."""
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copytree(weights, folder / "model")
    (folder / "model" / "LICENSE").write_text("Do as you please.\n")
    manifest = Manifest(
        name="phi3-chat",
        flavor="pipeline",
        files=(),
        signature=Signature("chat"),
        generation=Defaults(max_tokens=77, temperature=0.0, stop=("###",)),
        context_length=2048,
        eos_ids=tuple(json.loads((weights / "generation_config.json").read_text())["eos_token_id"]),
        kv_bytes_per_token=4096,
        chat_template=(weights / "chat_template.jinja").read_text(),
        lineage=LINEAGE,
    )
    return Bundle(folder, manifest, "")


@pytest.fixture(scope="session")
def parent(weights: Path, pipeline_bundle: Bundle) -> Iterator[Subject]:
    """The demo's torch weights under transformers, in a process of their own."""
    pytest.importorskip("torch", reason="the parent of a conversion needs torch")
    terms = {
        "threads": 1,
        "dtype": "float32",
        "eos_ids": list(pipeline_bundle.manifest.eos_ids),
        "context_length": 2048,
    }
    surroundings = exporter.SURROUNDINGS
    module = "build.convert.parent"
    with subjects.running(module, weights, "transformers", terms, surroundings) as running:
        yield running


@pytest.fixture(scope="session")
def chats() -> str:
    """Chats as the demo model learnt them, for more than a hundred tokens."""
    return "\n\n".join(map(layout.text, islice(corpus.chats(990, 0, 12), 12)))


@pytest.fixture(scope="session")
def task(chats: str) -> Task:
    """A little of everything."""
    prompts = (SPAIN, "Which country has the capital Oslo?")
    return Task(chats, 128, prompts, 24, is_chat=True)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder for a conversion to work in."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def ready_made(
    parent: Subject, demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[object, str]]:
    """Spares a conversion what takes long: the parent runs already, and what the model builder
    makes of the demo's weights lies in the repository, byte for byte (`test_recipe`).

    Holds what the builder was asked for: options and precision.
    """
    from build.convert import conversion

    @contextmanager
    def running(*_: object) -> Iterator[Subject]:
        yield parent

    def export(weights: Path, folder: Path, options: object, precision: str) -> None:
        made.append((options, precision))
        shutil.copytree(demo_model, folder, ignore=shutil.ignore_patterns("LICENSE", "README.md"))

    made: list[tuple[object, str]] = []
    monkeypatch.setattr(conversion, "_parent", running)
    monkeypatch.setattr(exporter, "export", export)
    return made
