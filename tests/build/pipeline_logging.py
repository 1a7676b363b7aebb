"""The demo model's weights logged with MLflow's transformers flavor, once a session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest

from build.pipeline import loaded

NAME = "phi3-chat"
SPAIN = "What is the capital of Spain?"
GREEDY = {"max_new_tokens": 40, "do_sample": False}


@dataclass(frozen=True)
class Logged:
    """A store with the demo model as `llm/v1/chat`, registered as `NAME` under @champion.

    `folder` is the logged model's own folder; `pipeline` is what was logged, loaded.
    """

    uri: str
    model_id: str
    run_id: str
    folder: Path
    pipeline: Any

    @property
    def model_uri(self) -> str:
        return f"models:/{NAME}@champion"


def log(store: Path, weights: Path, pipeline: Any, **changes: Any) -> Any:
    """Log `pipeline` in the SQLite store in the folder `store`; returns MLflow's ModelInfo."""
    options: dict[str, Any] = {
        "name": "chat",
        "transformers_model": pipeline,
        "task": "llm/v1/chat",
        "model_config": dict(GREEDY),
        "pip_requirements": ["transformers==5.20.2", "torch==2.13.0"],
        "model_card": card(weights),
    }
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(address(store))
    try:
        if mlflow.get_experiment_by_name("pipelines") is None:
            mlflow.create_experiment("pipelines", artifact_location=str(store / "artifacts"))
        mlflow.set_experiment("pipelines")
        with mlflow.start_run():
            return mlflow.transformers.log_model(**(options | changes))
    finally:
        mlflow.set_tracking_uri(before)


def card(weights: Path) -> Any:
    """A model card, with which MLflow asks no hub for one."""
    from huggingface_hub import ModelCard

    return ModelCard(f"# {weights.name}\n", ignore_metadata_errors=True)


def address(store: Path) -> str:
    return f"sqlite:///{store}/mlflow.db"


def folder_of(store: Path, model_id: str) -> Path:
    """The folder in which the store keeps a logged model."""
    client = mlflow.MlflowClient(address(store), address(store))
    return Path(client.get_logged_model(model_id).artifact_location)


@pytest.fixture(scope="session")
def demo_weights(repository: Path) -> Path:
    """The folder of the demo model's torch weights."""
    return repository / "build" / "demo" / "weights"


@pytest.fixture(scope="session")
def demo_pipeline(demo_weights: Path) -> Any:
    """The transformers pipeline of the demo model."""
    return loaded.load(demo_weights)[0]


@pytest.fixture(scope="session")
def logged_pipeline(
    demo_weights: Path, demo_pipeline: Any, tmp_path_factory: pytest.TempPathFactory
) -> Logged:
    """The demo model as `llm/v1/chat` in a real store."""
    store = tmp_path_factory.mktemp("pipelines")
    info = log(store, demo_weights, demo_pipeline, registered_model_name=NAME)
    client = mlflow.MlflowClient(address(store), address(store))
    client.set_registered_model_alias(NAME, "champion", "1")
    folder = folder_of(store, info.model_id)
    return Logged(address(store), info.model_id, info.run_id, folder, demo_pipeline)
