"""A client of the appliance in a few lines of the standard library: is it ready, ask, addresses."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

ANSWER_TIMEOUT_S = 600.0
PROBE_TIMEOUT_S = 5.0


class NoAnswer(Exception):
    """The appliance was asked and did not answer; the text is for the user."""


class Conversation:
    """Talks to the appliance at `host` and `port`."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = reachable(host), port
        self.base = f"http://[{self.host}]:{port}" if ":" in host else f"http://{self.host}:{port}"

    def is_ready(self) -> bool:
        """Whether `/readyz` says yes; no when nobody listens yet."""
        try:
            return self._send("GET", "/readyz", timeout_s=PROBE_TIMEOUT_S)[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, question: str) -> str:
        """Question, answer and usage as text; raises `NoAnswer`."""
        body = self._body(self._model(), question)
        start = time.monotonic()
        reply = self._json("POST", "/v1/chat/completions", body)
        duration_s = time.monotonic() - start
        choice, usage = reply["choices"][0], reply["usage"]
        return (
            f"\n  Q  {question}\n  A  {choice['message']['content'].strip()}\n"
            f"     {usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out, "
            f"{duration_s:.2f} s, finish_reason {choice['finish_reason']}\n"
        )

    def addresses(self, question: str) -> str:
        """Where to go from here, with a command to copy."""
        model, header = self._model(), "-H 'Content-Type: application/json'"
        if key_file():
            header += f''' -H "Authorization: Bearer $(head -n 1 {shlex.quote(key_file())})"'''
        return (
            f"chat      POST {self.base}/v1/chat/completions\n"
            f"scoring   POST {self.base}/invocations\n"
            f"metrics   GET  {self.base}/metrics\n\n"
            f"curl {self.base}/v1/chat/completions {header} \\\n"
            f"    -d {shlex.quote(json.dumps(self._body(model, question)))}"
        )

    def _model(self) -> str:
        return str(self._json("GET", "/v1/models")["data"][0]["id"])

    @staticmethod
    def _body(model: str, question: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {"model": model, "messages": messages, "max_tokens": 128, "temperature": 0}

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            status, text = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{method} {path}: {error}") from None
        if status != http.HTTPStatus.OK:
            raise NoAnswer(f"{method} {path} answered {status}: {text.strip()}")
        return json.loads(text)

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, headers())
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


def reachable(host: str) -> str:
    """The address to call where a server listens on `host`: loopback for all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def key_file() -> str:
    """The file of API keys that the appliance was told to demand; empty when it demands none."""
    return os.environ.get("EDGE_API_KEY_FILE", "")


def headers() -> dict[str, str]:
    """What every request carries."""
    fixed = {"Content-Type": "application/json"}
    if not key_file():
        return fixed
    first = Path(key_file()).read_text(encoding="utf-8").split()[0]
    return {**fixed, "Authorization": f"Bearer {first}"}
