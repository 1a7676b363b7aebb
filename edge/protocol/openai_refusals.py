"""Parameters of OpenAI's API that this appliance does not have, and their neutral values.

A parameter is never ignored: it is refused by name, unless its value asks for just what
happens without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from edge.errors import InvalidRequest
from edge.protocol import openai_guidance, openai_tools
from edge.protocol.fields import Fields

Neutral = Mapping[str, Sequence[object]]

COMMON: Neutral = {
    "service_tier": ("auto", "default"),
    "store": (False,),
}
CHAT: Neutral = {
    **COMMON,
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
}
COMPLETION: Neutral = {
    **COMMON,
    "suffix": ("",),
}

CHAT_ELSEWHERE: Mapping[str, str] = {
    **openai_guidance.ELSEWHERE,
    "prompt": "POST /v1/completions takes it",
    "echo": "POST /v1/completions takes it",
    "best_of": "POST /v1/completions takes it",
    "suffix": "POST /v1/completions takes it",
    "input": "POST /v1/chat/completions takes messages",
}
COMPLETION_ELSEWHERE: Mapping[str, str] = {
    **openai_guidance.ELSEWHERE,
    **dict.fromkeys(openai_tools.KNOWN, "POST /v1/chat/completions takes it"),
    "messages": "POST /v1/chat/completions takes it",
    "max_completion_tokens": "it is max_tokens here",
    "top_logprobs": "it is the number in logprobs here",
    "input": "POST /v1/completions takes a prompt",
}


def refuse(fields: Fields, neutral: Neutral) -> None:
    """Raise `InvalidRequest` that names the first member of `neutral` with another value."""
    for name, harmless in neutral.items():
        value = fields.raw(name)
        if value is None or any(type(value) is type(one) and value == one for one in harmless):
            continue
        path = fields.path(name)
        only = f" with any value but {json.dumps(harmless[0])}" if harmless else ""
        raise InvalidRequest(f"{path} is not supported by this appliance{only}", param=path)
