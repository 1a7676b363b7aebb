"""One question and its whole answer, the same to a scoring server and to OpenAI's API."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tests.bench.client import TIMEOUT_S, Address, BadAnswer

INVOCATIONS, CHAT = "/invocations", "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds for the whole of it, and the prompt's tokens by the server's own count."""

    spent_s: float
    prompt_tokens: int


class Prompts:
    """Texts of a given length that no cache has seen before."""

    def __init__(self, folder: Path, seed: int = 5) -> None:
        """`folder` holds the model's tokenizer."""
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._random = random.Random(seed)
        texts = (text for text in self._tokenizer.get_vocab() if text.isascii() and text.isalpha())
        self._words = sorted(texts)

    def draw(self, tokens: int) -> str:
        """Words that make about `tokens` tokens, and never fewer than half of it."""
        words = self._random.choices(self._words, k=tokens)
        ids = self._tokenizer.encode(" ".join(words)).ids[:tokens]
        text: str = self._tokenizer.decode(ids)
        return text


@dataclass(frozen=True, slots=True)
class Door:
    """Where a side takes chats."""

    address: Address
    path: str

    def ask(self, prompt: str, new_tokens: int) -> Answer:
        """Ask for exactly `new_tokens`. Raises `BadAnswer` where others came."""
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": new_tokens}
        if self.path == CHAT:
            body["temperature"] = 0  # the others are greedy by the model's own configuration
        started = time.perf_counter()
        raw = self._post(json.dumps(body))
        spent_s = time.perf_counter() - started
        usage = _usage(raw)
        if usage["completion_tokens"] != new_tokens:
            raise BadAnswer(f"{usage} of {self.path}, expected {new_tokens} completion tokens")
        return Answer(spent_s, usage["prompt_tokens"])

    def together(self, prompts: Sequence[str], new_tokens: int) -> float:
        """Seconds until all of `prompts`, asked at the same time, are answered."""
        started = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            list(pool.map(lambda prompt: self.ask(prompt, new_tokens), prompts))
        return time.perf_counter() - started

    def _post(self, body: str) -> bytes:
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=TIMEOUT_S
        )
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise BadAnswer(f"{response.status} of {self.path}: {raw[:500]!r}")
        return raw


def _usage(raw: bytes) -> dict[str, int]:
    """`usage` of a chat's answer; MLflow's server sends a list of one."""
    data = json.loads(raw)
    found: dict[str, int] = (data[0] if isinstance(data, list) else data)["usage"]
    return found
