"""The noun of the corpus: one question with its answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of a chat.

    `brief` is the answer under a system prompt that asks for the bare fact; None where there is
    no such answer. `subject` is what the question is about, for follow-up questions.
    """

    topic: str
    question: str
    answer: str
    brief: str | None = None
    subject: str = ""
