"""The `transformers` flavor of an `MLmodel`, or a bare Hugging Face folder seen as one.

The keys are those of `mlflow.transformers.flavor_config.FlavorKey`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import genai_config
from build.findings import Findings
from build.mlmodel import MLMODEL, MlModel

CONFIG = "config.json"
CHAT, COMPLETIONS, TEXT = "llm/v1/chat", "llm/v1/completions", "text-generation"
TASKS = (CHAT, COMPLETIONS, TEXT)


@dataclass(frozen=True, slots=True)
class Flavor:
    """What the flavor says: `task` is one of `TASKS` (or what it says instead).

    `weights` is the folder of config and weights in the MLflow model, empty where the model only
    names them: `source` is then a repository of the hub with its `revision`, or `base` a folder.
    `peft` is the adapter's folder, empty where there is none; `prompt_template` is MLflow's own.
    """

    task: str = CHAT
    architecture: str = ""
    weights: str = ""
    source: str = ""
    revision: str = ""
    base: str = ""
    tokenizer_source: str = ""
    tokenizer_revision: str = ""
    peft: str = ""
    prompt_template: str = ""


def is_pipeline(folder: Path, described: MlModel | None) -> bool:
    """Whether the model in `folder` is of this flavor; a folder without `MLmodel` by its files."""
    if described is not None:
        return bool(described.transformers)
    if (folder / MLMODEL).exists() or not (folder / CONFIG).is_file():
        return False
    return not any(folder.rglob(genai_config.NAME))


def read(described: MlModel | None, findings: Findings) -> Flavor:
    """The flavor; a bare folder is taken as a chat model. Another task is a problem."""
    if described is None:
        return Flavor(weights=".")
    said = described.transformers
    flavor = _flavor(said, described)
    if flavor.task not in TASKS:
        findings.problems.append(
            f"MLmodel: the pipeline's task is {flavor.task!r}, expected {', '.join(TASKS)}: only "
            "text generation is served"
        )
    processors = {"processor", "image_processor", "feature_extractor"} & _components(said)
    if processors:
        findings.problems.append(
            f"the pipeline has {' and '.join(sorted(processors))}, which reads images or sound; "
            "only text models are served"
        )
    return flavor


def _flavor(said: Mapping[str, Any], described: MlModel) -> Flavor:
    def text(key: str) -> str:
        return str(said.get(key) or "")

    task = described.metadata.get("task") or text("inference_task") or text("task")
    is_named = bool(text("source_model_revision") or text("local_base_model_path"))
    return Flavor(
        task=str(task),
        architecture=text("pipeline_model_type"),
        weights="" if is_named else text("model_binary") or "pipeline",  # before MLflow 2.4.1
        source=text("source_model_name"),
        revision=text("source_model_revision"),
        base=text("local_base_model_path"),
        tokenizer_source=text("tokenizer_name"),
        tokenizer_revision=text("tokenizer_revision"),
        peft=text("peft_adaptor"),
        prompt_template=str(described.metadata.get("prompt_template") or ""),
    )


def _components(said: Mapping[str, Any]) -> set[str]:
    named = said.get("components")
    found = {str(name) for name in named} if isinstance(named, list) else set()
    return found | ({"processor"} if said.get("processor_type") else set())
