"""From weights of Hugging Face to an ONNX folder, through onnxruntime-genai's model builder."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from os import environ
from pathlib import Path

from build import command, telemetry
from build.errors import BuildFailed

SURROUNDINGS: Mapping[str, str] = {
    "PYTHONHASHSEED": "0",
    # The builder would stamp the graph with the revision of the checkout that holds .venv.
    "GIT_DIR": "/nonexistent",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    **telemetry.SILENCE,
}


def export(weights: Path, folder: Path, options: Mapping[str, str], precision: str) -> None:
    """Write the CPU model of the folder `weights`; `precision` is `int4` or `fp32`.

    The builder runs as a process of its own: it puts bare module names on the import path.
    Raises `BuildFailed` with the end of its output.
    """
    extra = [f"{name}={value}" for name, value in options.items()]
    with tempfile.TemporaryDirectory(prefix="phial-export-", dir=folder.parent) as cache:
        words = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        words += ["-i", str(weights.resolve()), "-o", str(folder), "-p", precision]
        words += ["-e", "cpu", "-c", cache, "--extra_options", *extra, "hf_token=false"]
        command.run(
            words,
            f"the export of {_kind(weights)} with {' '.join(extra) or 'no options'}",
            error=BuildFailed,
            environment={**environ, **SURROUNDINGS},
        )


def _kind(weights: Path) -> str:
    """The architecture that `config.json` names: the builder's own refusals do not say it."""
    try:
        config = json.loads((weights / "config.json").read_text("utf-8"))
        return str((config.get("architectures") or [config["model_type"]])[0])
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return "weights of an unknown kind"
