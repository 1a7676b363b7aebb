"""Starts models in processes of their own and hands them tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from build import decoder, genai_config
from build.errors import BuildFailed, InvalidModel
from build.findings import Findings

_ROOT = Path(__file__).resolve().parent.parent.parent
_END_S = 30


@dataclass(frozen=True, slots=True)
class Scored:
    """For each token but the first: its natural log-probability, and the likeliest token."""

    logprobs: tuple[float, ...]
    likeliest: tuple[int, ...]


class Subject:
    """A running model; `engine` is the appliance's name of what runs it."""

    def __init__(self, process: subprocess.Popen[str], name: str, terms: dict[str, Any]) -> None:
        self._process = process
        self._tasks, self._answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        self._name = name
        self.context_length: int = terms["context_length"]
        self.vocab_size: int = terms.pop("vocab_size")
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

    def _ask(self, **task: Any) -> dict[str, Any]:
        self._say(task)
        return self._hear()

    def _say(self, message: dict[str, Any]) -> None:
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
def started(folder: Path, name: str, threads: int) -> Iterator[Subject]:
    """The model in `folder`, loaded; `name` is what failures call it. It ends with the context.

    Raises `InvalidModel` for a folder that is none, `BuildFailed` where the runtime fails.
    """
    terms = {"threads": threads, **_terms(folder)}
    with tempfile.TemporaryDirectory(prefix="phial-subject-") as place:
        command = [sys.executable, "-m", "build.optimize.subject", str(folder.resolve()), place]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
        )
        try:
            yield Subject(process, name, terms)
        finally:
            process.kill()  # it may be in the middle of a run, and leaves nothing to tidy
            process.communicate()


def _terms(folder: Path) -> dict[str, Any]:
    findings = Findings()
    config = genai_config.read(folder, findings)
    found = decoder.read(folder, config, findings) if config else None
    if config is None or found is None or findings.problems:
        raise InvalidModel(findings.problems)
    return {
        "context_length": config.context_length,
        "eos_ids": list(config.eos_ids),
        "kv_bytes_per_token": found.kv_bytes_per_token,
        "vocab_size": config.vocab_size,
    }
