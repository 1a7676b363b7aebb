"""Pickled weights made safetensors, in a process of its own, once somebody allowed it:

    python -m build.pipeline.pickled FOLDER INTO    prints {"problems": [...]}

`torch.load(weights_only=True)` reads tensors and refuses everything else that a pickle can do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from build import telemetry
from build.errors import InvalidModel
from build.genai_config import leaves
from build.pipeline import weights

TIMEOUT_S = 3600
SINGLE, INDEX = weights.PICKLED
_ROOT = Path(__file__).resolve().parent.parent.parent


def is_there(folder: Path) -> bool:
    """Whether `folder` has pickled weights under the names that transformers gives them."""
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def convert(folder: Path, into: Path) -> None:
    """Write the pickled weights of `folder` to `into`; raises `InvalidModel`."""
    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise InvalidModel(
            f"--allow-pickle needs {' and '.join(missing)} to read the weights, not installed "
            "here; scripts/install demo installs them"
        )
    into.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(folder.resolve()), str(into.resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=_ROOT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidModel(f"reading the pickled weights took over {TIMEOUT_S} seconds") from error
    if done.returncode:
        raise InvalidModel(f"reading the pickled weights failed (status {done.returncode})")
    if problems := json.loads(done.stdout)["problems"]:
        raise InvalidModel(problems)


def main() -> int:
    """Convert from the first folder of the command line to the second."""
    telemetry.silence()
    folder, into = Path(sys.argv[1]), Path(sys.argv[2])
    print(json.dumps({"problems": _problems(folder, into)}))
    return 0


def _problems(folder: Path, into: Path) -> list[str]:
    index = _index(folder)
    shards = sorted(set(index.values())) if index else [SINGLE]
    outside = [name for name in shards if leaves(name) or not (folder / name).is_file()]
    if outside:
        return [f"{name}, which {INDEX} names, is not in the folder" for name in outside]
    problems: list[str] = []
    placed: dict[str, str] = {}
    for name in shards:
        shard = _new_name(name)
        try:
            placed |= dict.fromkeys(_convert(folder / name, into / shard), shard)
        except InvalidModel as error:
            problems += error.problems
    if index and not problems:
        (into / weights.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return problems


def _index(folder: Path) -> Mapping[str, str]:
    """Tensor to shard; empty for a single file."""
    if (folder / SINGLE).is_file():
        return {}
    data = json.loads((folder / INDEX).read_text("utf-8"))
    return {str(key): str(value) for key, value in dict(data.get("weight_map") or {}).items()}


def _new_name(name: str) -> str:
    return name.replace("pytorch_model", "model").rpartition(".")[0] + ".safetensors"


def _convert(path: Path, target: Path) -> list[str]:
    """Write one file's tensors, each with memory of its own; returns their names."""
    import pickle

    import torch
    from safetensors.torch import save_file

    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise InvalidModel(f"{path.name} holds more than weights, or is broken: {said:.200}") from (
            error
        )
    is_state = isinstance(found, dict) and all(isinstance(v, torch.Tensor) for v in found.values())
    if not is_state:
        raise InvalidModel(f"{path.name} is no mapping of names to tensors")
    tensors = {str(name): value.detach().contiguous().clone() for name, value in found.items()}
    save_file(tensors, str(target), metadata={"format": "pt"})
    return list(tensors)


if __name__ == "__main__":
    sys.exit(main())
