"""What `optimize` is given: weights of Hugging Face, or a model that is ONNX already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from build import decoder, genai_config
from build.errors import InvalidModel, ToolMissing
from build.findings import Findings
from build.genai_config import GenaiConfig

NEEDED = ("torch", "transformers", "onnx_ir")
"""What the model builder imports beside the factory's own packages."""

_CONFIG = "config.json"
_WEIGHTS = "*.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class Source:
    """A checked folder; `config` is that of an ONNX model, None for weights of Hugging Face."""

    folder: Path
    config: GenaiConfig | None

    @property
    def is_onnx(self) -> bool:
        """Whether the folder holds a graph that can only be retuned."""
        return self.config is not None


def find(folder: Path) -> Source:
    """Look what `folder` is.

    Raises `InvalidModel` with every problem, and `ToolMissing` where weights are to be exported
    and a package for it is not installed.
    """
    if not folder.is_dir():
        raise InvalidModel(f"MODEL is {str(folder)!r}, expected a folder")
    if (folder / genai_config.NAME).is_file():
        return Source(folder, read_config(folder))
    if not (folder / _CONFIG).is_file():
        raise InvalidModel(
            f"{folder} holds neither {_CONFIG} of a Hugging Face model nor "
            f"{genai_config.NAME} of an ONNX one"
        )
    problems = list(_weight_problems(folder))
    if problems:
        raise InvalidModel(problems)
    check_tools()
    return Source(folder, None)


def check_tools() -> None:
    """Raise `ToolMissing` where a package that exporting weights takes is not installed."""
    missing = [name.replace("_", "-") for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ToolMissing(
            f"exporting weights of Hugging Face needs {', '.join(missing)}, not installed here; "
            "scripts/install demo installs what is missing"
        )


def read_config(folder: Path) -> GenaiConfig:
    """The configuration of an ONNX folder whose graph was looked at; raises `InvalidModel`."""
    findings = Findings()
    config = genai_config.read(folder, findings)
    if config is not None:
        decoder.read(folder, config, findings)
    if config is None or findings.problems:
        raise InvalidModel(findings.problems)
    return config


def size_bytes(folder: Path) -> int:
    """The bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _weight_problems(folder: Path) -> Iterator[str]:
    try:
        if not isinstance(json.loads((folder / _CONFIG).read_text("utf-8")), dict):
            yield f"{_CONFIG} is not a JSON object"
    except (OSError, ValueError) as error:
        yield f"{_CONFIG} is not JSON: {error}"
    if not any(folder.glob(_WEIGHTS)):
        pickled = any(any(folder.glob(pattern)) for pattern in _PICKLES)
        advice = "; pickled weights are never opened: save the model as safetensors" * pickled
        yield f"{folder} has no weights, expected {_WEIGHTS}{advice}"
    if not any(folder.glob("tokenizer*")):
        yield f"{folder} has no tokenizer, expected tokenizer.json and tokenizer_config.json"
