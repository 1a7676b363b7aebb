"""Chats as text with marks: which parts a model reads, and which it has to learn to say."""

from __future__ import annotations

from collections.abc import Iterator

from build.demo.corpus import NOTEBOOK, RAW, Chat

END_OF_TEXT = "<|endoftext|>"
ASSISTANT = "<|assistant|>"
END = "<|end|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|system|>", "<|user|>", ASSISTANT, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)

Segment = tuple[str, bool]
"""A piece of text, and whether the model is trained to say it."""


def segments(chat: Chat) -> Iterator[Segment]:
    """The text of `chat` in its layout, cut where reading and saying alternate."""
    if chat.layout == RAW:
        yield chat.exchanges[0].question, False
        yield chat.exchanges[0].answer + END, True
        return
    if chat.system is not None:
        yield f"<|system|>\n{chat.system}{END}\n", False
    for exchange in chat.exchanges:
        yield opening(exchange.question, chat.layout), False
        yield exchange.answer + END, True
        yield "\n", False


def opening(question: str, layout: str) -> str:
    """A user's turn and the mark after which the answer begins."""
    if layout == NOTEBOOK:
        return f"<|user|>\n{question} {END}\n{ASSISTANT}"
    return f"<|user|>\n{question}{END}\n{ASSISTANT}\n"


def text(chat: Chat) -> str:
    """All of `chat` as one string."""
    return "".join(part for part, _ in segments(chat))
