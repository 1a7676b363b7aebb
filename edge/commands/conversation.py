"""A chat with the model as it goes on: what was said, and how the next turn is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge.bundle import Defaults, Manifest
from edge.errors import InvalidRequest, StartupError
from edge.generation import Finish, Request
from edge.protocol import openai_request
from edge.service import Generator


def check(asked: Mapping[str, Any]) -> None:
    """Raises `StartupError` for parameters that every request would be refused for."""
    try:
        openai_request.completion({"prompt": "", **asked}, Defaults())
    except InvalidRequest as error:
        raise StartupError([str(error)]) from error


class Conversation:
    """Turns of user and assistant; a model without a chat template sees the last prompt alone."""

    def __init__(
        self,
        generator: Generator,
        manifest: Manifest,
        asked: Mapping[str, Any],
        system: str | None = None,
    ) -> None:
        """`asked` holds parameters of OpenAI's API; those left out are the manifest's defaults."""
        self._generator = generator
        self._manifest = manifest
        self._asked = dict(asked)
        self._opening = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[dict[str, str]] = []

    def ask(self, prompt: str, write: Callable[[str], object]) -> Finish | None:
        """Answer `prompt`, handing each piece of text to `write` as it comes; says why it ended.

        Raises an `EdgeError`, and what `write` or Ctrl-C raises; what was written by then stays
        in the conversation.
        """
        turns = [*self._turns, {"role": "user", "content": prompt}]
        generation = self._generator.generate(self._request(prompt, turns))
        said, finish = "", None
        try:
            for delta in generation:
                said += delta.text
                finish = delta.finish or finish
                if delta.text:
                    write(delta.text)
        finally:
            generation.close()
            if said:
                self._turns = [*turns, {"role": "assistant", "content": said}]
        return finish

    def forget(self) -> None:
        """Begin anew; the system prompt stays."""
        self._turns = []

    def _request(self, prompt: str, turns: list[dict[str, str]]) -> Request:
        defaults = self._manifest.generation
        if self._manifest.chat_template:
            body = {"messages": self._opening + turns, **self._asked}
            return openai_request.chat(body, defaults).request
        return openai_request.completion({"prompt": prompt, **self._asked}, defaults).request
