"""The last word on a model: the runtime loads it and generates one token.

It runs in a process of its own, because a broken model may take the process down with it:

    python -m build.trial FOLDER < {"chat_template": ...}   prints {"problems": [...]}

Each LoRA adapter gets a token of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build import telemetry
from build.genai_config import NAME

TIMEOUT_S = 900
_ROOT = Path(__file__).resolve().parent.parent
_TEXT = "What is the capital of Spain?"
_NEW_TOKENS = 1


def attempt(
    folder: Path, chat_template: str, *, whole: bool, adapters: Mapping[str, Path] | None = None
) -> list[str]:
    """Try the model in `folder`, by itself and with each of the `adapters`; returns the problems.

    The tokenizer is tried by itself, so that its problems show beside those of the graph;
    with `whole` false nothing else is.
    """
    command = [sys.executable, "-m", "build.trial", str(folder.resolve())]
    files = {name: str(path) for name, path in (adapters or {}).items()}
    task = json.dumps({"chat_template": chat_template, "whole": whole, "adapters": files})
    try:
        done = subprocess.run(
            command, input=task, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=_ROOT
        )
    except subprocess.TimeoutExpired:
        return [f"the runtime did not finish a trial of the model within {TIMEOUT_S} seconds"]
    if done.returncode == 0:
        return [str(problem) for problem in json.loads(done.stdout)["problems"]]
    signal = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return [f"the runtime crashed on the model ({signal})"]


def main() -> int:
    """Try the model that the command line names."""
    telemetry.silence()
    folder = Path(sys.argv[1])
    task = json.loads(sys.stdin.read())
    problems = list(_tokenizer_problems(folder, task["chat_template"]))
    if task["whole"] and not problems:
        problems += _model_problems(folder, task["adapters"])
    print(json.dumps({"problems": problems}))
    return 0


def _tokenizer_problems(folder: Path, chat_template: str) -> Iterator[str]:
    import onnxruntime_genai as og

    with _tokenizer_only(folder) as place:
        try:
            tokenizer = og.Tokenizer(og.Model(str(place)))
            if not len(tokenizer.encode(_TEXT)):
                yield "the tokenizer turns text into no tokens"
        except RuntimeError as error:
            yield f"the tokenizer does not load: {_brief(error, place)}"
            return
        if chat_template and (problem := _template_problem(tokenizer, chat_template)):
            yield problem


def _template_problem(tokenizer: Any, chat_template: str) -> str:
    messages = json.dumps([{"role": "user", "content": _TEXT}])
    try:
        text = tokenizer.apply_chat_template(
            messages, template_str=chat_template, add_generation_prompt=True
        )
    except RuntimeError as error:
        return f"the runtime cannot render the chat template: {str(error).splitlines()[0]}"
    return "" if _TEXT in text else "the chat template drops the user's message"


@contextmanager
def _tokenizer_only(folder: Path) -> Iterator[Path]:
    """A folder that the runtime opens without any graph: a pipeline of no stages.

    The runtime makes tokenizers of opened models only, and opening the real one may fail.
    """
    with tempfile.TemporaryDirectory(prefix="phial-trial-") as made:
        place = Path(made)
        config = json.loads((folder / NAME).read_text("utf-8"))
        decoder = {**config["model"]["decoder"], "session_options": {}, "pipeline": []}
        config["model"].update(type="decoder-pipeline", decoder=decoder)
        (place / NAME).write_text(json.dumps(config), "utf-8")
        for path in folder.iterdir():
            if path.is_file() and path.name != NAME and ".onnx" not in path.name:
                (place / path.name).symlink_to(path.resolve())
        yield place


def _model_problems(folder: Path, adapters: Mapping[str, str]) -> list[str]:
    import onnxruntime_genai as og

    try:
        model = og.Model(str(folder))
        _say(model)
    except RuntimeError as error:
        return [f"the runtime cannot run the model: {_brief(error, folder)}"]
    known, problems = og.Adapters(model), []
    for name, path in adapters.items():
        try:
            known.load(path, name)
            _say(model, known, name)
        except RuntimeError as error:
            words = _brief(error, Path(path).parent)
            problems.append(f"the runtime cannot run the model with adapter {name}: {words}")
    return problems


def _say(model: Any, adapters: Any = None, name: str = "") -> None:
    import onnxruntime_genai as og

    prompt = og.Tokenizer(model).encode(_TEXT)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(prompt) + _NEW_TOKENS, do_sample=False)
    generator = og.Generator(model, params)
    if adapters is not None:
        generator.set_active_adapter(adapters, name)
    generator.append_tokens(prompt)
    generator.generate_next_token()


def _brief(error: RuntimeError, folder: Path) -> str:
    """The first line of the runtime's message, without the folder's place."""
    return str(error).splitlines()[0].replace(f"{folder}/", "")[:300]


if __name__ == "__main__":
    sys.exit(main())
