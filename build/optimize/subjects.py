"""Starts models in processes of their own and hands them tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from build import decoder, genai_config, template
from build.errors import BuildFailed, InvalidModel
from build.findings import Findings

_ROOT = Path(__file__).resolve().parent.parent.parent
_END_S = 30
_MODULE = "build.optimize.subject"

Terms: TypeAlias = Mapping[str, Any]
"""How a model is loaded, as the process that loads it wants to be told."""


@dataclass(frozen=True, slots=True)
class Scored:
    """For each token but the first: its natural log-probability, and the likeliest token."""

    logprobs: tuple[float, ...]
    likeliest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Token ids of a prompt as the model was given it, and of its greedy answer, its end included
    where it came to one."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


class Subject:
    """A running model; `engine` is the name of what runs it.

    `terms` say how it is loaded; `context_length` is among them, and `vocab_size` where speed is
    measured.
    """

    def __init__(self, process: subprocess.Popen[str], name: str, terms: Terms) -> None:
        self._process = process
        self._tasks, self._answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        self._name = name
        self.context_length = int(terms["context_length"])
        self.vocab_size = int(terms.get("vocab_size", 0))
        self._say(terms)
        self.engine = str(self._hear()["engine"])

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""
        return [int(token) for token in self._ask(task="encode", text=text)["ids"]]

    def speed(self, ids: list[int], new_tokens: int) -> tuple[float, float]:
        """Seconds to the first token after `ids`, and for `new_tokens` more."""
        answer = self._ask(task="speed", ids=ids, new_tokens=new_tokens)
        return float(answer["prefill_s"]), float(answer["decode_s"])

    def score(self, ids: list[int]) -> Scored:
        """What the model thinks of each of `ids` after those before it."""
        answer = self._ask(task="score", ids=ids)
        return Scored(tuple(answer["logprobs"]), tuple(answer["likeliest"]))

    def answer(self, prompt: str, most_tokens: int, *, is_chat: bool) -> Answer:
        """What the model says to `prompt`, one message of a chat or a text to go on with."""
        found = self._ask(task="answer", prompt=prompt, most_tokens=most_tokens, is_chat=is_chat)
        return Answer(tuple(found["prompt"]), tuple(found["tokens"]))

    def _ask(self, **task: Any) -> dict[str, Any]:
        self._say(task)
        return self._hear()

    def _say(self, message: Terms) -> None:
        with suppress(BrokenPipeError):  # it has ended: `_hear` tells how
            self._tasks.write(json.dumps(message) + "\n")
            self._tasks.flush()

    def _hear(self) -> dict[str, Any]:
        line = self._answers.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"problem": self._death()}
        if "problem" in answer:
            raise BuildFailed(f"{self._name}: {answer['problem']}")
        return answer

    def _death(self) -> str:
        status = self._process.wait(_END_S)
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        return f"the runtime ended on the model ({cause}); was there memory enough?"


@contextmanager
def started(
    folder: Path, name: str, threads: int, *, within: Path | None = None
) -> Iterator[Subject]:
    """The ONNX model in `folder` on the appliance's engine; `name` is what failures call it.

    What it needs on disk lies `within` a folder, the system's own for temporary files where none
    is named. Raises `InvalidModel` for a folder that is none, `BuildFailed` where it cannot run.
    """
    terms = {"threads": threads, **_terms(folder)}
    with running(_MODULE, folder, name, terms, within=within) as subject:
        yield subject


@contextmanager
def running(
    module: str,
    folder: Path,
    name: str,
    terms: Terms,
    environment: Mapping[str, str] | None = None,
    *,
    within: Path | None = None,
) -> Iterator[Subject]:
    """A process of `module` with the model in `folder` loaded; it ends with the context.

    Raises `BuildFailed` where that fails.
    """
    with tempfile.TemporaryDirectory(prefix="phial-subject-", dir=within) as place:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder.resolve()), place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield Subject(process, name, terms)
        finally:
            process.kill()  # it may be in the middle of a run, and leaves nothing to tidy
            process.communicate()


def _terms(folder: Path) -> Terms:
    findings = Findings()
    config = genai_config.read(folder, findings)
    found = decoder.read(folder, config, findings) if config else None
    chat_template = template.read(folder, findings)
    if config is None or found is None or findings.problems:
        raise InvalidModel(findings.problems)
    return {
        "context_length": config.context_length,
        "eos_ids": list(config.eos_ids),
        "kv_bytes_per_token": found.kv_bytes_per_token,
        "vocab_size": config.vocab_size,
        "chat_template": chat_template,
    }
