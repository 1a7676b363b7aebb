"""What a logged model promises its callers: signature, example, requirements."""

from __future__ import annotations

from importlib.metadata import version

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

REQUIRED = ("mlflow", "onnxruntime-genai", "onnxruntime", "numpy")
EXAMPLE_PROMPT = "What is the capital of Spain?"
EXAMPLE_PARAMS = {"max_tokens": 32, "temperature": 0.0}


def signature() -> ModelSignature:
    """`prompt: string -> string` with the params that a request may set.

    Their defaults are null (`[]` for the list): the model then takes what its `model_config`
    says, so that a default is written down once and can be changed when the model is loaded.
    """
    params = [
        ParamSpec("max_tokens", "long", None),
        ParamSpec("temperature", "double", None),
        ParamSpec("top_p", "double", None),
        ParamSpec("top_k", "long", None),
        ParamSpec("stop", "string", [], shape=(-1,)),
        ParamSpec("seed", "long", None),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec("string", "prompt", required=True)]),
        outputs=Schema([ColSpec("string")]),
        params=ParamSchema(params),
    )


def example() -> tuple[pd.DataFrame, dict[str, int | float]]:
    """The input example: one row of `prompt`, and params; a scoring body in split form."""
    return pd.DataFrame({"prompt": [EXAMPLE_PROMPT]}), dict(EXAMPLE_PARAMS)


def requirements() -> list[str]:
    """The packages that the logged model needs, pinned to those installed here."""
    return [f"{package}=={version(package)}" for package in REQUIRED]
