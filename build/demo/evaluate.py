"""The evaluation: greedy answers of an exported model, and the table of how many are right.

Needs onnxruntime-genai only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

from build import telemetry
from build.demo import layout
from build.demo.corpus import Chat
from build.demo.questions import Question

MODEL = Path(__file__).parent / "model"
ANSWER_TOKENS = 512
"""An answer that has not ended by itself after so many tokens counts as endless.

The longest right answer, counting to 100, takes about 390; all others end within 64."""

BARS: Mapping[str, float] = {
    "capital, trained": 0.97,
    "capital, held_out": 0.85,
    "country, trained": 0.97,
    "country, held_out": 0.85,
}
"""The share of right answers that a shipped model must reach, by group."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: its text, token count, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Miss:
    """A question that was answered wrongly."""

    group: str
    question: str
    expected: str
    said: str


@dataclass(slots=True)
class Score:
    """Counts of one group of questions."""

    group: str
    questions: int = 0
    right: int = 0
    ended: int = 0

    @property
    def rate(self) -> float:
        return self.right / self.questions


@dataclass(frozen=True, slots=True)
class Result:
    """The table, the wrong answers, and how fast the answers came (decoding and prefill)."""

    scores: tuple[Score, ...]
    misses: tuple[Miss, ...]
    tokens: int
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Each bar that is missed, and each group with an answer that did not end."""
        low = [
            f"{score.group}: {score.rate:.1%} right, at least {BARS[score.group]:.0%} wanted"
            for score in self.scores
            if score.rate < BARS.get(score.group, 0.0)
        ]
        endless = [
            f"{score.group}: {score.questions - score.ended} answers did not end"
            for score in self.scores
            if score.ended < score.questions
        ]
        return low + endless


class Answers(Protocol):
    """Whatever goes on after a prompt."""

    def answer(self, text: str) -> Answer:
        """Go on after `text` to the end of the answer."""


class Respondent:
    """An exported model that answers greedily."""

    def __init__(self, folder: Path = MODEL) -> None:
        """Load the onnxruntime-genai folder.

        Raises:
            FileNotFoundError: there is no `genai_config.json` in it.
        """
        if not (folder / "genai_config.json").is_file():
            raise FileNotFoundError(f"model: {folder} has no genai_config.json")
        telemetry.silence()  # the runtime reads it at its first import
        import onnxruntime_genai

        self.runtime = onnxruntime_genai
        self.model = self.runtime.Model(str(folder))
        self.tokenizer = self.runtime.Tokenizer(self.model)

    def answer(self, text: str) -> Answer:
        """Go on after `text`, which carries its own marks, to the end of the answer."""
        said = self.say(text)
        ended = said[-1] in self.tokenizer.eos_token_ids
        return Answer(self.tokenizer.decode(said), len(said), ended)

    def say(self, text: str) -> list[int]:
        """The token ids that follow `text`, the end of the answer included."""
        prompt = self.tokenizer.encode(text)
        params = self.runtime.GeneratorParams(self.model)
        params.set_search_options(do_sample=False, max_length=len(prompt) + ANSWER_TOKENS)
        generator = self.runtime.Generator(self.model, params)
        generator.append_tokens(prompt)
        said: list[int] = []
        while not generator.is_done():
            generator.generate_next_token()
            said += generator.get_next_tokens().tolist()
        return said


def prompt(chat: Chat) -> str:
    """`chat` up to where its last answer begins."""
    parts = list(layout.segments(chat))
    last = max(place for place, (_, own) in enumerate(parts) if own)
    return "".join(text for text, _ in parts[:last])


def evaluate(respondent: Answers, asked: Iterable[Question]) -> Result:
    """Put every question and count the right answers by group, in the order of the groups."""
    scores: dict[str, Score] = {}
    misses: list[Miss] = []
    tokens, began = 0, perf_counter()
    for question in asked:
        answer = respondent.answer(prompt(question.chat))
        score = scores.setdefault(question.group, Score(question.group))
        score.questions += 1
        score.ended += answer.ended
        tokens += answer.tokens
        if answer.ended and answer.text in question.accepted:
            score.right += 1
        else:
            misses.append(_miss(question, answer))
    return Result(tuple(scores.values()), tuple(misses), tokens, perf_counter() - began)


def table(result: Result) -> Iterator[str]:
    """The lines of the table."""
    yield f"{'questions':46} {'asked':>6} {'right':>6} {'rate':>7} {'ended':>6}  bar"
    for score in result.scores:
        bar = f">= {BARS[score.group]:.0%}" if score.group in BARS else ""
        yield (
            f"{score.group:46} {score.questions:6} {score.right:6} {score.rate:7.1%} "
            f"{score.ended:6}  {bar}"
        )
    speed = result.tokens / result.seconds
    yield f"{result.tokens} tokens in {result.seconds:.1f} s, {speed:.0f} a second with prefill"
    yield from (f"MISSED BAR: {problem}" for problem in result.problems)


def as_json(result: Result) -> str:
    """The result as one JSON object."""
    content = {
        "scores": [{**asdict(score), "rate": score.rate} for score in result.scores],
        "misses": [asdict(miss) for miss in result.misses],
        "tokens": result.tokens,
        "seconds": result.seconds,
        "problems": result.problems,
    }
    return json.dumps(content, ensure_ascii=False, indent=2)


def _miss(question: Question, answer: Answer) -> Miss:
    said = answer.text if answer.ended else answer.text + " (no end)"
    asked = question.chat.exchanges[-1].question
    return Miss(question.group, asked, " | ".join(sorted(question.accepted)), said)
