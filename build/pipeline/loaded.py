"""A Hugging Face folder as a transformers pipeline. Needs torch and transformers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from build.errors import InvalidModel, ToolMissing
from build.pipeline import trial
from build.pipeline.flavor import TEXT


def check_packages() -> None:
    """Raises `ToolMissing` where the packages for it are not installed."""
    missing = trial.missing()
    if missing:
        raise ToolMissing(
            f"logging a pipeline needs {' and '.join(missing)}, not installed here; "
            "scripts/install demo installs what is missing"
        )


def load(folder: Path) -> tuple[Any, float]:
    """The text-generation pipeline of `folder`, in the type of its weights, on the CPU.

    Beside it the seconds that it took, without the imports. It is named by its absolute path, by
    which MLflow finds the tokenizer again when a request has stop strings. Raises `InvalidModel`.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    make, device = transformers.pipeline, torch.device("cpu")
    started = time.perf_counter()
    try:
        made = make(TEXT, model=str(folder.resolve()), dtype="auto", device=device)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InvalidModel(f"transformers does not load the model: {error}") from error
    return made, time.perf_counter() - started
