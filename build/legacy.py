"""Models logged as a pickled Python class, the way of 2024, seen from outside.

Such a class wraps the runtime's API of its day (`GeneratorParams.input_ids` and
`Model.generate`, both gone since onnxruntime-genai 0.6) and keeps its settings in its code. The
appliance needs neither: it generates by itself. The pickle is never opened, which would run
whatever it holds; what it hides must be said by flag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.findings import Findings
from build.mlmodel import INPUT_EXAMPLE, MlModel
from build.options import Options

_UNNEEDED = ("torch", "transformers", "tensorflow")
_RUNTIME = "onnxruntime-genai"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PIN = re.compile(r"==\s*(\d+)\.(\d+)")
_REMOVED_IN = (0, 6)
# Setting, flag and example, from the class of the public notebook of 2024.
_HIDDEN = (
    ("max_tokens", "--max-tokens 300"),
    ("temperature", "--temperature 0.2"),
)


def review(
    folder: Path,
    mlmodel: MlModel,
    options: Options,
    special_tokens: frozenset[str],
    findings: Findings,
) -> None:
    """Note what is left out of the model in `folder` and what only a flag can say."""
    findings.shims += _requirement_shims(mlmodel.requirements)
    if not mlmodel.pickle:
        return
    findings.shims.append(
        f"{mlmodel.pickle} holds a pickled Python class: it was not opened and stays behind; the "
        "appliance generates with the runtime's present API"
    )
    hidden = [flag for name, flag in _HIDDEN if not _is_said(name, options, mlmodel.config)]
    if hidden:
        findings.advice.append(
            f"settings inside {mlmodel.pickle} are unknown here; say them by flag, e.g. "
            + " ".join(hidden)
        )
    if options.prompt_format is None:
        findings.advice.append(_prompt_advice(folder, special_tokens))


def _is_said(name: str, options: Options, config: Mapping[str, Any]) -> bool:
    aliases = ("max_tokens", "max_new_tokens", "max_length") if name == "max_tokens" else (name,)
    return name in options.generation or any(config.get(alias) is not None for alias in aliases)


def _requirement_shims(requirements: tuple[str, ...]) -> list[str]:
    shims = []
    for line in requirements:
        match = _NAME.match(line)
        name = match[0].lower().replace("_", "-") if match else ""
        pin = _PIN.search(line)
        if name in _UNNEEDED:
            shims.append(
                f"{name} is among the model's requirements and is left out: nothing uses it"
            )
        elif name == _RUNTIME and pin and (int(pin[1]), int(pin[2])) < _REMOVED_IN:
            shims.append(
                f"the model was logged for {_RUNTIME} {pin[1]}.{pin[2]}; the generate() API of "
                "that release is replaced by the present one"
            )
    return shims


def _prompt_advice(folder: Path, special_tokens: frozenset[str]) -> str:
    """What the logged example says about how prompts are written."""
    if any(token in _example(folder) for token in special_tokens):
        return (
            "the logged example is a prompt in template form already; such prompts are taken as "
            "they are and plain ones are wrapped in the chat template (--prompt-format raw: never "
            "wrap)"
        )
    return (
        "how the pickled class wrapped a prompt is unknown here; plain prompts are wrapped in the "
        "chat template (--prompt-format raw: never, chat: always)"
    )


def _example(folder: Path) -> str:
    path = folder / INPUT_EXAMPLE
    try:
        return json.dumps(json.loads(path.read_text("utf-8"))) if path.is_file() else ""
    except ValueError:
        return ""
