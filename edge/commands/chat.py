"""`python -m edge chat`: talk to the model in the terminal, without a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from edge import config, log
from edge.commands import SUMMARIES
from edge.commands.options import open_bundle, overrides, parser
from edge.errors import EdgeError, PromptTooLong, StartupError
from edge.generation import Finish

if TYPE_CHECKING:
    from edge.commands.conversation import Conversation

INTERRUPTED = 130
_FAILED = 1
# Who talks alone needs no memory for others.
_ALONE = {"EDGE_SLOTS": "1"}
_ASKED = ("max_tokens", "temperature")


def run(arguments: Sequence[str]) -> int:
    """Answer the prompt of the command line or of standard input, else ask for prompts.

    Returns 0, 1 where a single prompt could not be answered, 130 after Ctrl-C. Raises
    `StartupError`.
    """
    options = _parser().parse_args(arguments)
    config.silence_telemetry()
    quiet = {config.variable("log_level"): "error"}
    settings = config.from_process({**overrides(options), **_ALONE}, quiet)
    log.start(settings.log_level)
    opened = open_bundle(settings)

    from edge.commands import conversation, local

    asked = {name: value for name in _ASKED if (value := getattr(options, name)) is not None}
    conversation.check(asked)
    try:
        prompt = _prompt(options)
        with local.loaded(opened, settings) as model:
            talk = conversation.Conversation(model.service, opened.manifest, asked, options.system)
            if prompt is None:
                return _loop(talk, opened.manifest.name)
            return 0 if _answer(talk, prompt) else _FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _prompt(options: argparse.Namespace) -> str | None:
    """What to answer; None where a terminal is there to ask at."""
    if options.prompt:
        return " ".join(options.prompt)
    if sys.stdin is not None and sys.stdin.isatty():
        return None
    text = sys.stdin.read().strip() if sys.stdin is not None else ""
    if not text:
        raise StartupError(
            ["no prompt: pass one, or pipe one in, or give `chat` a terminal (docker run -it)"]
        )
    return text


def _loop(talk: Conversation, name: str) -> int:
    with suppress(ImportError):
        import readline  # noqa: F401 - `input` edits lines and remembers them where it is there
    _note(f"{name}: Ctrl-C stops an answer, /reset forgets, Ctrl-D or /exit leaves")
    while True:
        try:
            line = input("> ").strip()
            if line == "/exit":
                return 0
            if line == "/reset":
                talk.forget()
            elif line:
                _answer(talk, line)
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return 0


def _answer(talk: Conversation, prompt: str) -> bool:
    """Print the answer as it comes; False where there is none, with the reason on stderr."""
    said: list[str] = []

    def write(text: str) -> None:
        said.append(text)
        print(text, end="", flush=True)

    try:
        finish = talk.ask(prompt, write)
    except EdgeError as error:
        if said:
            print(flush=True)
        is_long = isinstance(error, PromptTooLong)
        _note(f"{error}{'; /reset forgets what was said' if is_long else ''}")
        return False
    print(flush=True)
    if finish is Finish.LENGTH:
        _note("cut off at the token limit: --max-tokens allows more")
    return True


def _note(text: str) -> None:
    print(f"phial: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    made = parser("chat", f"Let you {SUMMARIES['chat']}.")
    made.add_argument("--system", metavar="TEXT", help="what the model is told before all else")
    made.add_argument(
        "--max-tokens", type=int, metavar="N", help="longest answer; default: the bundle's"
    )
    made.add_argument(
        "--temperature", type=float, metavar="T", help="0 is greedy; default: the bundle's"
    )
    made.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="answer this and end; else a loop of prompts"
    )
    return made
