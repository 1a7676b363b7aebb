"""The weights of a Hugging Face folder: one safetensors file, or shards and their index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from build import contents
from build.errors import InvalidModel
from build.findings import Findings
from build.genai_config import leaves
from build.pipeline import config, headers
from build.pipeline.headers import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PRECISIONS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the tensors are: `shards` are file names, `tensors` the tensors of each by name."""

    folder: Path
    shards: tuple[str, ...]
    tensors: Mapping[str, Mapping[str, Tensor]]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the weights, the index among them."""
        return self.shards if self.shards == (SINGLE,) else (*self.shards, INDEX)

    @property
    def all(self) -> dict[str, Tensor]:
        """The tensors of all shards, by name."""
        return {name: found for shard in self.tensors.values() for name, found in shard.items()}

    @property
    def parameters(self) -> int:
        """How many weights there are."""
        return sum(tensor.elements for tensor in self.all.values())

    @property
    def dtype(self) -> str:
        """The type that most of the bytes have, by its safetensors name."""
        sizes: Counter[str] = Counter()
        for tensor in self.all.values():
            sizes[tensor.dtype] += tensor.size_bytes
        return next((name for name, _ in sizes.most_common(1)), "")

    @property
    def precision(self) -> str:
        """The same by its common name: `fp32`, `fp16`, `bf16`."""
        return PRECISIONS.get(self.dtype, self.dtype.lower())


def read(folder: Path, findings: Findings) -> Weights | None:
    """Read the headers in `folder`; None, and problems, where the weights are not whole."""
    before = len(findings.problems)
    placed: Mapping[str, str] = {}
    if (folder / INDEX).is_file() and not (folder / SINGLE).is_file():
        placed = _index(folder, findings)
        shards = tuple(sorted(set(placed.values())))
    else:
        shards = (SINGLE,)
    found = {name: _tensors(folder, name, findings) for name in shards}
    if len(findings.problems) == before:
        findings.problems += [*_disagreements(placed, found), *_kind_problems(found)]
    return Weights(folder, shards, found) if len(findings.problems) == before else None


def has_safetensors(folder: Path) -> bool:
    """Whether `folder` has weights of this kind, whole or not."""
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def _index(folder: Path, findings: Findings) -> Mapping[str, str]:
    """Tensor to shard, of those shards that stay in the folder."""
    data = config.load(folder / INDEX, findings) or {}
    places = data.get("weight_map")
    if not isinstance(places, dict) or not places:
        findings.problems.append(f"{INDEX} has no weight_map")
        return {}
    outside = sorted({str(name) for name in places.values() if leaves(str(name))})
    findings.problems += [f"{INDEX} names {name!r}, which leaves the folder" for name in outside]
    return {str(k): str(v) for k, v in places.items() if str(v) not in outside}


def _tensors(folder: Path, name: str, findings: Findings) -> Mapping[str, Tensor]:
    path = folder / name
    if not path.is_file():
        findings.problems.append(f"{name} is missing: the weights are not whole")
    elif contents.is_lfs_pointer(path):
        findings.problems += contents.file_problems(folder, (name,))
    else:
        try:
            return headers.read(path)
        except InvalidModel as error:
            findings.problems += error.problems
    return {}


def _disagreements(
    placed: Mapping[str, str], found: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[str]:
    """Where index and shards say different things."""
    absent = sorted(name for name, shard in placed.items() if name not in found[shard])
    if absent:
        yield f"{INDEX} places tensors in shards that do not have them: {_some(absent)}"
    there = {name for tensors in found.values() for name in tensors}
    extra = sorted(there - set(placed)) if placed else []
    if extra:
        yield f"{INDEX} does not list tensors that the shards have: {_some(extra)}"


def _kind_problems(found: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    every = {name: tensor for tensors in found.values() for name, tensor in tensors.items()}
    if not every:
        yield "the weights hold no tensors"
    packed = sorted(name for name, tensor in every.items() if tensor.dtype.startswith("F8"))
    if packed:
        yield (
            f"the weights are in 8-bit floats ({_some(packed)}), which needs a GPU; log the model "
            "in float32, float16 or bfloat16"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
