"""llama.cpp's server as a side: how it is started, and what a request to it carries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import sides
from tests.bench.client import Address
from tests.bench.sides import Served

READY_PATH = "/health"
GREEDY = {"temperature": 0, "top_k": 1, "samplers": ["top_k"], "ignore_eos": True}
"""The cheapest sampler that is greedy; answers run to their limit."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`context_tokens` is for each of the `slots`; `flash_attention` is `on` or `off`."""

    threads: int
    slots: int
    context_tokens: int
    flash_attention: str


def command(program: Path, model: Path, address: Address, setting: Setting) -> list[str]:
    """The command line. Slots keep their prompts; no further copies of them are made in RAM."""
    options = {
        "--model": model,
        "--host": address.host,
        "--port": address.port,
        "--threads": setting.threads,
        "--threads-batch": setting.threads,
        "--parallel": setting.slots,
        "--ctx-size": setting.slots * setting.context_tokens,
        "--flash-attn": setting.flash_attention,
        "--cache-ram": 0,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [str(program), *words, "--cont-batching", "--no-ui"]


@contextmanager
def served(program: Path, model: Path, setting: Setting, log: Path) -> Iterator[Served]:
    """Start the server and end it. Raises `sides.NotStarted`."""
    address = Address("127.0.0.1", sides.free_port())
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LLAMA_")}
    line = command(program, model, address, setting)
    with sides.listening(line, address, READY_PATH, log, inherited) as running:
        yield running
