"""A base model's weights under their own names, where peft's wrappers got into them.

A model that peft has wrapped is saved with `x.base_layer.weight` for `x.weight`, the adapter's
matrices beside it, and both copies of a module that was trained whole. MLflow 3 saves a base model
like that when it has to keep its weights, and then loads it with random ones in their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from build.pipeline.headers import Tensor
from build.pipeline.weights import INDEX, Weights

_ADAPTER = re.compile(r"\.(lora_\w+|modules_to_save)\.")
_WRAPPED = re.compile(r"\.(base_layer|original_module)(?=\.)")
_ALIGNMENT = 8  # of the header's length, so that tensors start at a multiple of it
_CHUNK_BYTES = 1024 * 1024


def is_wrapped(weights: Weights) -> bool:
    """Whether any tensor bears the name of a wrapper."""
    return any(_WRAPPED.search(name) for name in weights.all)


def unwrap(weights: Weights, into: Path) -> Weights:
    """Write the base's own tensors, under their own names, to `into`."""
    into.mkdir(parents=True, exist_ok=True)
    found = {}
    for shard, tensors in weights.tensors.items():
        kept = {name: tensor for name, tensor in tensors.items() if not _ADAPTER.search(name)}
        if not kept:
            continue
        with (weights.folder / shard).open("rb") as source, (into / shard).open("wb") as target:
            found[shard] = _write(kept, source, target)
    placed = {name: shard for shard, tensors in found.items() for name in tensors}
    if INDEX in weights.files:
        (into / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}), "utf-8")
    return Weights(into, tuple(found), found)


def plain(name: str) -> str:
    """The name of a tensor without its wrapper's."""
    return _WRAPPED.sub("", name)


def _write(tensors: Mapping[str, Tensor], source: BinaryIO, target: BinaryIO) -> dict[str, Tensor]:
    """Copy `tensors` to a new file with a header of its own; returns where they now are."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    placed, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size_bytes
        placed[plain(name)] = (start, end, tensor)
        entry = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        header[plain(name)] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    target.write(len(text).to_bytes(8, "little") + text)
    first = target.tell()
    for tensor in tensors.values():
        source.seek(tensor.start)
        left = tensor.size_bytes
        while left:
            chunk = source.read(min(left, _CHUNK_BYTES))
            target.write(chunk)
            left -= len(chunk)
    return {
        name: Tensor(tensor.dtype, tensor.shape, first + start, first + end)
        for name, (start, end, tensor) in placed.items()
    }
