"""How like its parent a converted model is: on a text, and in its answers to a few prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import eq

from build.optimize import quality
from build.optimize.choice import Bounds
from build.optimize.quality import Reading
from build.optimize.subjects import Answer, Scored, Subject

PROMPTS = (
    "What is the capital of Spain?",
    "Which country has the capital Oslo?",
    "How much is 17 plus 25?",
    "Hello! Who are you?",
    "Tell me a joke.",
    "Count from 1 to 10.",
    "Name three colours of the rainbow.",
    "Explain in one sentence why the sky is blue.",
)
"""What both are asked where no prompt is given."""


@dataclass(frozen=True, slots=True)
class Task:
    """What both models read and answer.

    `tokens` of `text` are judged at most; an answer ends after `answer_tokens` if not before.
    `is_chat`: the prompts are messages of a chat, else texts to go on with.
    """

    text: str
    tokens: int
    prompts: tuple[str, ...]
    answer_tokens: int
    is_chat: bool


@dataclass(frozen=True, slots=True)
class Account:
    """What one model made of it: `ids` of the text, `scored` for those of the parent, answers."""

    ids: tuple[int, ...]
    reading: Reading
    scored: Scored
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The converted model held against its parent.

    Shares are from 0 to 1. `agreement` is that of positions where both find the same token
    likeliest after the same text. `same_answers` is the share of prompts that get the same
    answer to its end (or limit), `answer_agreement` the share of the tokens of all the parent's
    answers that come before the first difference. `tokenization` is the share of the text's
    tokens before the first that the two tokenizers cut otherwise.
    """

    parent_perplexity: float
    perplexity: float
    agreement: float
    judged_tokens: int
    answers: int
    same_answers: float
    answer_agreement: float
    tokenization: float

    @property
    def loss(self) -> float:
        """How much higher its perplexity is than the parent's, as a share (0.02: 2 % higher)."""
        return self.perplexity / self.parent_perplexity - 1

    def metrics(self) -> dict[str, float]:
        """The figures by the names that a run has them under."""
        return {
            "perplexity": self.perplexity,
            "parent_perplexity": self.parent_perplexity,
            "perplexity_loss": self.loss,
            "greedy_agreement": self.agreement,
            "judged_tokens": float(self.judged_tokens),
            "compared_answers": float(self.answers),
            "same_answers": self.same_answers,
            "answer_agreement": self.answer_agreement,
            "tokenizer_agreement": self.tokenization,
        }

    def problems(self, bounds: Bounds) -> Iterator[str]:
        """Why a model like this is not good enough, a sentence each."""
        if self.loss > bounds.most_loss:
            yield (
                f"its perplexity of the text is {self.perplexity:.4g}, {self.loss:.1%} above the "
                f"parent's {self.parent_perplexity:.4g}, expected at most {bounds.most_loss:.0%} "
                "(--most-loss)"
            )
        if self.agreement < bounds.least_agreement:
            yield (
                f"it finds the same token likeliest as its parent at {self.agreement:.1%} of the "
                f"text's positions, expected at least {bounds.least_agreement:.0%} "
                "(--least-agreement)"
            )


def account(subject: Subject, task: Task, reading: Reading | None = None) -> Account:
    """What a model makes of the task; `reading` is the text as its parent read it, if it has one.

    Raises `InvalidModel` for a text that is too short, `BuildFailed` where the runtime fails.
    """
    reading = reading or quality.reading(subject, task.text, task.tokens)
    return Account(
        ids=tuple(subject.encode(task.text)),
        reading=reading,
        scored=quality.score(subject, reading),
        answers=tuple(
            subject.answer(prompt, task.answer_tokens, is_chat=task.is_chat)
            for prompt in task.prompts
        ),
    )


def compare(own: Account, parents: Account) -> Likeness:
    """The converted model's `own` account against its parent's."""
    pairs = list(zip(own.answers, parents.answers, strict=True))
    tokens = sum(len(answer.tokens) for answer in parents.answers)
    return Likeness(
        parent_perplexity=quality.perplexity(parents.scored),
        perplexity=quality.perplexity(own.scored),
        agreement=quality.agreement(own.scored, parents.scored),
        judged_tokens=len(parents.scored.likeliest),
        answers=len(pairs),
        same_answers=sum(one == other for one, other in pairs) / len(pairs),
        answer_agreement=sum(_common(*pair) for pair in pairs) / tokens,
        tokenization=_length(own.ids, parents.ids) / max(len(own.ids), len(parents.ids)),
    )


def _common(own: Answer, parents: Answer) -> int:
    """How many tokens both answers begin with; none where the prompt was read otherwise."""
    return _length(own.tokens, parents.tokens) if own.prompt == parents.prompt else 0


def _length(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of what two sequences have in common from their start."""
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))
