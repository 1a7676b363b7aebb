"""What the scripted models are asked to echo."""

from __future__ import annotations

import pytest

from edge.engine import scripted
from edge.generation import Prompt
from edge.protocol import scoring_echo
from edge.protocol.scoring import Invocation

PARAMS = {"temperature": 0.5, "stop": ["x"], "max_tokens": None}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo", "a"),
        ("echo_params", "a|[('max_tokens', None), ('stop', ['x']), ('temperature', 0.5)]"),
    ],
)
def test_the_text(script: scripted.Script, text: str) -> None:
    invocation = Invocation(("a",), PARAMS, True)
    request = scoring_echo.to_request(invocation, scripted.manifest(script), request_id="r")
    assert request.prompts == (Prompt(text=text),)
    assert (request.operation, request.request_id) == ("invocations", "r")


def test_nothing_is_cut_short() -> None:
    invocation = Invocation(("a", "🦊" * 100), {"max_tokens": 1, "stop": ["🦊"]}, True)
    request = scoring_echo.to_request(invocation, scripted.manifest("echo"))
    assert request.max_tokens is not None
    assert request.max_tokens > len(("🦊" * 100).encode())
    assert request.stop == ()
