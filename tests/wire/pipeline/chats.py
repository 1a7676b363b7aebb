"""The chats of the parity tests: questions of the demo model, some with a limit on the answer."""

from __future__ import annotations

from typing import Any

from build.answers import sample
from build.demo.corpus import CHAT, Chat

Body = dict[str, Any]
# The longest answer where a request names none.
MOST_TOKENS = 48
# Evenly spread over the evaluation: geography, sums, follow-ups, system prompts, long chats.
QUESTIONS = 16


def messages(chat: Chat) -> list[dict[str, str]]:
    """The chat up to its last question."""
    system = [{"role": "system", "content": chat.system}] if chat.system else []
    turns = [
        {"role": role, "content": text}
        for exchange in chat.exchanges
        for role, text in (("user", exchange.question), ("assistant", exchange.answer))
    ]
    return [*system, *turns[:-1]]


def user(text: str) -> list[dict[str, str]]:
    """A chat of one question."""
    return [{"role": "user", "content": text}]


SPAIN = user("What is the capital of Spain?")
SEVERAL_TURNS = [
    {"role": "system", "content": "You are a geography teacher."},
    *SPAIN,
    {"role": "assistant", "content": "The capital of Spain is Madrid."},
    {"role": "user", "content": "And of Peru?"},
]
CHATS: list[Body] = [
    *(
        {"messages": messages(question.chat)}
        for question in sample(QUESTIONS)
        if question.chat.layout == CHAT
    ),
    {"messages": SEVERAL_TURNS},
    {"messages": SPAIN, "max_tokens": 1},
    {"messages": SPAIN, "max_tokens": 5},
    {"messages": user("日本 🎉 naïve"), "max_tokens": 12},
    {"messages": user("Who are you?"), "max_tokens": 7},
    {"messages": [*SPAIN, {"role": "assistant", "content": "Madrid"}]},
    {"messages": user("")},
]
