"""How many of the demo model's questions a model folder answers rightly, as metrics."""

from __future__ import annotations

import re
from pathlib import Path

from build.demo import evaluate
from build.demo.questions import Question, questions

SAMPLE = 300


def is_demo(folder: Path) -> bool:
    """Whether `folder` is the model that comes with the repository."""
    return folder.resolve() == evaluate.MODEL.resolve()


def metrics(folder: Path, count: int) -> dict[str, float]:
    """The rates (0 to 1) of right answers, over all and by group, and of answers that ended.

    `count` questions are taken evenly from all of them.
    """
    result = evaluate.evaluate(evaluate.Respondent(folder), sample(count))
    asked = sum(score.questions for score in result.scores)
    return {
        "questions": asked,
        "answer_rate": sum(score.right for score in result.scores) / asked,
        "ended_rate": sum(score.ended for score in result.scores) / asked,
        **{f"answer_rate/{_slug(score.group)}": score.rate for score in result.scores},
    }


def sample(count: int) -> list[Question]:
    """`count` questions (all where there are fewer), evenly spread and always the same."""
    every = list(questions())
    taken = min(count, len(every))
    return [every[index * len(every) // taken] for index in range(taken)]


def _slug(group: str) -> str:
    return re.sub(r"\W+", "_", group).strip("_")
