"""The last word on a pipeline: transformers loads it and generates one token.

It runs in a process of its own, because a broken model may take the process down with it:

    python -m build.pipeline.trial FOLDER < {"chat_template": ...}   prints {"problems": [...]}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from build import telemetry

TIMEOUT_S = 900
NEEDED = ("torch", "transformers")
_ROOT = Path(__file__).resolve().parent.parent.parent
_TEXT = "What is the capital of Spain?"
# What loading and running a broken model raises.
_FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)


def missing() -> list[str]:
    """The packages that a trial needs and that are not installed here."""
    return [name for name in NEEDED if find_spec(name) is None]


def attempt(folder: Path, chat_template: str, *, remote_code: bool) -> list[str]:
    """Try the flat model in `folder`; returns the problems."""
    command = [sys.executable, "-m", __name__, str(folder.resolve())]
    task = json.dumps({"chat_template": chat_template, "remote_code": remote_code})
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        done = subprocess.run(
            command,
            input=task,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=_ROOT,
            env={**os.environ, **offline},
        )
    except subprocess.TimeoutExpired:
        return [f"transformers did not finish a trial of the model within {TIMEOUT_S} seconds"]
    if done.returncode == 0:
        return [str(problem) for problem in json.loads(done.stdout.splitlines()[-1])["problems"]]
    signal = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return [f"transformers crashed on the model ({signal})"]


def main() -> int:
    """Try the model that the command line names."""
    telemetry.silence()
    folder = Path(sys.argv[1])
    task = json.loads(sys.stdin.read())
    print(json.dumps({"problems": list(_problems(folder, task))}))
    return 0


def _problems(folder: Path, task: dict[str, Any]) -> Iterator[str]:
    import transformers

    trust = {"trust_remote_code": task["remote_code"]}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
        if not tokenizer(_TEXT)["input_ids"]:
            yield "the tokenizer turns text into no tokens"
    except _FAILURES as error:
        yield f"the tokenizer does not load: {_brief(error, folder)}"
        return
    if task["chat_template"] and (problem := _template_problem(tokenizer, task["chat_template"])):
        yield problem
    try:
        yield from _model_problems(folder, tokenizer, trust)
    except _FAILURES as error:
        yield f"transformers cannot run the model: {_brief(error, folder)}"


def _template_problem(tokenizer: Any, chat_template: str) -> str:
    import jinja2

    messages = [{"role": "user", "content": _TEXT}]
    try:
        text = tokenizer.apply_chat_template(
            messages, chat_template=chat_template, tokenize=False, add_generation_prompt=True
        )
    except (jinja2.TemplateError, *_FAILURES) as error:
        return f"transformers cannot render the chat template: {str(error).splitlines()[0]:.200}"
    return "" if _TEXT in text else "the chat template drops the user's message"


def _model_problems(folder: Path, tokenizer: Any, trust: dict[str, bool]) -> Iterator[str]:
    """Weights that the model would have to invent are a problem; so are those it has no use for."""
    import torch
    import transformers

    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", output_loading_info=True, **trust
    )
    for key, what in (("missing_keys", "are missing"), ("mismatched_keys", "are of another shape")):
        if found := sorted(str(name) for name in told.get(key) or ()):
            yield f"weights {what}: {', '.join(found[:3])}{', ...' * (len(found) > 3)}"
            return
    with torch.inference_mode():
        logits = model(**tokenizer(_TEXT, return_tensors="pt")).logits[0, -1]
    if not bool(torch.isfinite(logits.float()).all()):
        yield "the model's logits are not finite: its weights are broken"


def _brief(error: Exception, folder: Path) -> str:
    """The first line of the message, without the folder's place."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].replace(f"{folder}/", "").replace(str(folder), "the model")[:300]


if __name__ == "__main__":
    sys.exit(main())
