"""From torch weights to an onnxruntime-genai folder: the options that the demo model ships with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from build import positions
from build.optimize import exporter

TUNED_OPTIONS: Mapping[str, str] = {
    "block_size": "128",
    "op_types_to_quantize": "MatMul/Gather",
    "prune_lm_head": "true",
}
"""int4 blocks of 128 weights, quantized embeddings, logits of the last position only."""


def export(weights: Path, folder: Path, options: Mapping[str, str] = TUNED_OPTIONS) -> None:
    """Write the int4 CPU model of the transformers folder `weights` into `folder`.

    A pruned LM head is opened for the positions of drafted tokens. Raises `BuildFailed`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    exporter.export(weights, folder, options, "int4")
    positions.open_pruned(folder / "model.onnx")
