"""From torch weights to an onnxruntime-genai folder, through the model builder of that library."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from os import environ
from pathlib import Path

from build import positions
from build.optimize.exporter import SURROUNDINGS

__all__ = ["SURROUNDINGS", "TUNED_OPTIONS", "ExportFailed", "export"]

TUNED_OPTIONS: Mapping[str, str] = {
    "block_size": "128",
    "op_types_to_quantize": "MatMul/Gather",
    "prune_lm_head": "true",
}
"""int4 blocks of 128 weights, quantized embeddings, logits of the last position only."""


class ExportFailed(Exception):
    """The model builder ended with an error; the message carries the end of its output."""


def export(weights: Path, folder: Path, options: Mapping[str, str] = TUNED_OPTIONS) -> None:
    """Write the int4 CPU model of the transformers folder `weights` into `folder`.

    The builder runs as a process of its own: it puts bare module names on the import path. A
    pruned LM head is opened for the positions of drafted tokens (`build.positions`).

    Raises:
        ExportFailed: the builder did not finish.
    """
    extra = [f"{name}={value}" for name, value in options.items()]
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(weights), "-o", str(folder), "-p", "int4", "-e", "cpu", "-c", cache]
        command += ["--extra_options", *extra, "hf_token=false"]
        done = subprocess.run(
            command,
            env={**environ, **SURROUNDINGS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ExportFailed(f"model builder: exit {done.returncode}\n{done.stdout[-2000:]}")
    with contextlib.suppress(positions.NotPruned):
        positions.choose(folder / "model.onnx")
