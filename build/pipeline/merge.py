"""Merges a LoRA adapter into copies of the shards that it changes.

As `peft`'s `merge_and_unload` on a CPU: `W + scale * (B @ A)` in float32, rounded once to the type
of `W`; of an embedding the product is rounded before. Whole modules that were trained beside it
(`modules_to_save`) take the place of theirs.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from build.errors import InvalidModel, OutputRefused
from build.pipeline import headers
from build.pipeline.headers import Tensor
from build.pipeline.lora import WEIGHTS, Lora
from build.pipeline.weights import Weights

_DTYPES: Mapping[str, npt.DTypeLike] = {
    "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
}  # fmt: skip
_PREFIX = "base_model.model."
_PART = re.compile(r"(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB])(\.weight)?")
_SPARE_BYTES = 64 * 1024 * 1024

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """The matrices `a` and `b` of one module, by their names in the adapter's file."""

    a: str
    b: str
    scale: float
    is_transposed: bool
    is_embedding: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one tensor of the base: `whole` takes its place, then the pair is added."""

    whole: str = ""
    pair: Pair | None = None


def merge(base: Weights, folder: Path, lora: Lora, into: Path) -> Weights:
    """The base with the adapter of `folder`: the changed shards lie in `into`.

    Raises `InvalidModel` where the adapter does not fit the base, `OutputRefused` where the disk
    has no room.
    """
    adapter = headers.read(folder / WEIGHTS)
    changes = plan(base, adapter, lora)
    touched = {shard for shard, found in base.tensors.items() if found.keys() & changes.keys()}
    needed = sum((base.folder / name).stat().st_size for name in touched) + _SPARE_BYTES
    into.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(into).free < needed:
        raise OutputRefused(f"merging the adapter needs {needed:,} bytes of disk")
    for shard in base.files:
        if shard not in touched:
            (into / shard).symlink_to((base.folder / shard).resolve())
            continue
        shutil.copyfile(base.folder / shard, into / shard)
        with (into / shard).open("r+b") as target, (folder / WEIGHTS).open("rb") as source:
            for name in sorted(base.tensors[shard].keys() & changes.keys()):
                tensor = base.tensors[shard][name]
                changed = _changed(_read(target, tensor), changes[name], adapter, source)
                target.seek(tensor.start)
                target.write(changed.astype(_DTYPES[tensor.dtype]).tobytes())
    return replace(base, folder=into)


def plan(base: Weights, adapter: Mapping[str, Tensor], lora: Lora) -> dict[str, Change]:
    """What the adapter does, by the base's tensor; raises `InvalidModel` with all that is odd."""
    known = base.all
    changes: dict[str, Change] = {}
    problems: list[str] = []
    for name in sorted(adapter):
        match = _PART.fullmatch(name)
        if match and match["side"] == "B":
            continue  # comes with its A
        try:
            place, change = _pair(match, adapter, lora) if match else _whole(name)
            target = _target(place, known)
            _check_fit(target, known[target], change, adapter)
        except ValueError as error:
            problems.append(f"the adapter does not fit the base model: {error}")
            continue
        before = changes.get(target, Change())
        changes[target] = Change(change.whole or before.whole, change.pair or before.pair)
    if not changes and not problems:
        problems.append("the adapter's file holds no tensors")
    if problems:
        raise InvalidModel(problems)
    return changes


def _pair(match: re.Match[str], adapter: Mapping[str, Tensor], lora: Lora) -> tuple[str, Change]:
    """An embedding's matrices are those of a linear layer, transposed."""
    first = match[0]
    second = first.replace(f".lora_{match['kind'] or ''}A", f".lora_{match['kind'] or ''}B")
    module = match["module"].removeprefix(_PREFIX)
    if second not in adapter:
        raise ValueError(f"it has {first} without its B")
    rank = adapter[first].shape[0]
    if rank != lora.rank_of(module):
        raise ValueError(f"{first} has the rank {rank}, its configuration {lora.rank_of(module)}")
    is_embedding = bool(match["kind"])
    pair = Pair(first, second, lora.scale(module), is_embedding or lora.is_transposed, is_embedding)
    return f"{module}.weight", Change(pair=pair)


def _whole(name: str) -> tuple[str, Change]:
    plain = name.removeprefix(_PREFIX)
    for part in (".base_layer", ".modules_to_save"):
        plain = plain.replace(part, "")
    return plain, Change(whole=name)


def _target(name: str, known: Mapping[str, Tensor]) -> str:
    """The base's tensor of that name; checkpoints may leave out or add the outermost module."""
    if name in known:
        return name
    near = [other for other in known if name.endswith(f".{other}") or other.endswith(f".{name}")]
    if len(near) != 1:
        raise ValueError(f"the base has no tensor {name}")
    return near[0]


def _check_fit(name: str, tensor: Tensor, change: Change, adapter: Mapping[str, Tensor]) -> None:
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{name} is of the type {tensor.dtype}, which takes no adapter")
    pair = change.pair
    parts = [adapter[part] for part in ((pair.a, pair.b) if pair else (change.whole,))]
    if strange := [part.dtype for part in parts if part.dtype not in _DTYPES]:
        raise ValueError(f"its part for {name} is of the type {strange[0]}")
    shape = parts[0].shape
    if pair:
        shape = (parts[1].shape[0], parts[0].shape[-1])
        shape = shape[::-1] if pair.is_transposed else shape
    if shape != tensor.shape:
        raise ValueError(f"{name} has the shape {list(tensor.shape)}, its part {list(shape)}")


def _changed(value: Array, change: Change, adapter: Mapping[str, Tensor], source: Any) -> Array:
    if change.whole:
        value = _read(source, adapter[change.whole]).astype(value.dtype)
    pair = change.pair
    if pair is None:
        return value
    a, b = (_read(source, adapter[name]).astype(np.float32) for name in (pair.a, pair.b))
    delta: Array = (b @ a) * np.float32(pair.scale)
    delta = delta.T if pair.is_transposed else delta
    if pair.is_embedding:
        delta = delta.astype(value.dtype)
    return value.astype(np.float32) + delta.astype(np.float32)


def _read(stream: Any, tensor: Tensor) -> Array:
    stream.seek(tensor.start)
    raw = stream.read(tensor.size_bytes)
    return np.frombuffer(raw, dtype=_DTYPES[tensor.dtype]).reshape(tensor.shape)
