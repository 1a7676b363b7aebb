"""docs/api.md, section "Pipelines", against the servers and the tests."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from edge.protocol import scoring_llm
from tests.wire.pipeline import test_differences
from tests.wire.pipeline.conftest import Sides
from tests.wire.pipeline.test_parity import plain

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
SECTION = PAGE[PAGE.index("\n### Pipelines\n") : PAGE.index("\n### Streams of scoring\n")]
EXAMPLES = re.findall(r"```sh\n(curl .*?)\n(# .*?)\n```", SECTION, re.DOTALL)
MODELS = ("chat", "completions", "text")


def example(command: str, shown: str) -> tuple[str, Any]:
    """The body that a command sends, and the reply below it."""
    words = shlex.split(command)
    reply = re.sub(r"^# ?", "", shown, flags=re.MULTILINE)
    return words[words.index("-d") + 1], json.loads(reply)


@pytest.mark.parametrize("place", range(len(MODELS)), ids=MODELS)
def test_the_examples_are_real(sides: Sides, place: int) -> None:
    body, shown = example(*EXAMPLES[place])
    for side in (sides.ours, sides.theirs):
        reply = side(MODELS[place], body.encode())
        assert reply.status == 200
        assert plain(reply.json) == plain(shown)
    assert len(EXAMPLES) == len(MODELS)


def test_every_difference_has_a_test_and_every_test_a_row() -> None:
    named = set(re.findall(r"`(test_\w+)`", SECTION))
    assert named == {name for name in vars(test_differences) if name.startswith("test_")}


def test_every_option_is_documented() -> None:
    table = SECTION[SECTION.index("| option of both") : SECTION.index("`null` leaves an option")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    told = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert told == {option.name for option in scoring_llm.OPTIONS}
