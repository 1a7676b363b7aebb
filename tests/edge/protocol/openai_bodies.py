"""Bodies of the OpenAI API as the tests of its translation make them."""

from __future__ import annotations

import pytest

from edge.bundle import Defaults
from edge.errors import InvalidRequest
from edge.protocol import openai_request

NONE = Defaults()
MESSAGES = [{"role": "user", "content": "Hello"}]


def chat(**body):
    return openai_request.chat({"messages": MESSAGES, **body}, NONE)


def completion(**body):
    return openai_request.completion({"prompt": "Hello", **body}, NONE)


def refusal(operation, **body) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        operation(**body)
    return caught.value
