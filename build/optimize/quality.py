"""How well a model knows a text, and how often it chooses as another one does."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from pathlib import Path
from statistics import fmean

from build.errors import InvalidModel, UsageError
from build.optimize.subjects import Scored, Subject

TEXT = Path(__file__).with_name("text.txt")
"""What is read where no text is given."""

LEAST_TOKENS = 64
_CALIBRATION_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Reading:
    """Token ids of a text in two parts: one to find scales with, the other to judge with."""

    calibration: tuple[int, ...]
    judged: tuple[int, ...]


def read(path: Path) -> str:
    """The text of the file that `--text` names; raises `UsageError`."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--text {str(path)!r} cannot be read as UTF-8 text: {error}") from error


def reading(subject: Subject, text: str, most_tokens: int) -> Reading:
    """Cut `text`: the first fifth is for calibration, of the rest `most_tokens` are judged.

    Raises `InvalidModel` where the text has fewer than 64 tokens.
    """
    ids = subject.encode(text)
    if len(ids) < LEAST_TOKENS:
        raise InvalidModel(f"--text has {len(ids)} tokens, expected at least {LEAST_TOKENS}")
    room = subject.context_length - 1
    cut = min(len(ids) // 5, _CALIBRATION_TOKENS, room)
    return Reading(tuple(ids[:cut]), tuple(ids[cut : cut + min(most_tokens, room)]))


def score(subject: Subject, what: Reading) -> Scored:
    """The judgement of `subject` on every token of the judged part."""
    return subject.score(list(what.judged))


def perplexity(scored: Scored) -> float:
    """The exponential of the mean negative log-probability: 1 is certainty, lower is better."""
    return exp(-fmean(scored.logprobs))


def agreement(one: Scored, other: Scored) -> float:
    """The share of positions where both find the same token likeliest, after the same text."""
    pairs = list(zip(one.likeliest, other.likeliest, strict=True))
    return sum(a == b for a, b in pairs) / len(pairs)
