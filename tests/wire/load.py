"""Callers that ask again and again over connections they keep, and remember what went wrong."""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass, field
from typing import Any

ANSWER_S = 60.0
QUESTION = [{"role": "user", "content": "What is the capital of Spain?"}]
ANSWER = "The capital of Spain is Madrid."
LONG_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is repeated: its path and body, and what its answer must say."""

    path: str
    body: dict[str, Any]
    text: str = ""
    finish: str = "stop"


def asks(eos_ids: list[int]) -> dict[str, Ask]:
    """A short answer whole, the same as a stream, and a stream that never ends by itself."""
    chat = {"messages": QUESTION, "temperature": 0, "max_tokens": 40}
    endless = {
        "prompt": "A story of a long journey",
        "max_tokens": LONG_TOKENS,
        "logit_bias": {str(token): -100 for token in eos_ids},
        "stream": True,
    }
    return {
        "whole": Ask("/v1/chat/completions", chat, ANSWER),
        "stream": Ask("/v1/chat/completions", {**chat, "stream": True}, ANSWER),
        "long stream": Ask("/v1/completions", endless, finish="length"),
    }


@dataclass
class Caller:
    """One caller in a thread of its own; `failures` says what went wrong, `answers` counts."""

    name: str
    port: int
    ask: Ask
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """Let the request that runs end, and no other begin."""
        self._over.set()
        self._thread.join(ANSWER_S + 10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        while not self._over.is_set():
            try:
                self._once(connection)
                self.answers += 1
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                self.failures.append(f"{self.name}, after {self.answers} answers: {error!r}")
                connection.close()
        connection.close()

    def _once(self, connection: http.client.HTTPConnection) -> None:
        """Ask once. http.client connects again only where an answer said that it was the last."""
        body = json.dumps(self.ask.body)
        connection.request("POST", self.ask.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        raw = response.read()
        assert response.status == 200, (response.status, raw)
        text, finish = _streamed(raw) if self.ask.body.get("stream") else _whole(raw)
        assert finish == self.ask.finish, (finish, raw[-300:])
        assert self.ask.text in text, text


def _whole(raw: bytes) -> tuple[str, str]:
    choice = json.loads(raw)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def _streamed(raw: bytes) -> tuple[str, str]:
    """Text and finish reason of a stream that came to its end."""
    events = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]", raw[-300:]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    texts = [
        choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices
    ]
    return "".join(texts), choices[-1]["finish_reason"]
