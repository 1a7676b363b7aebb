"""The next token from the logits, in numpy. One `Sampler` a row.

Order: logit bias, penalties, grammar mask, temperature, top-k, top-p, min-p, draw.
"""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from edge.engine.base import Choice, Constraint, Ids
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Sampling

Logits = npt.NDArray[np.float32]
_NUCLEUS_GUESS = 512
_SEED_MASK = (1 << 64) - 1


class Sampler:
    """Chooses tokens for one row; holds its random state and what it has seen so far."""

    def __init__(self, sampling: Sampling, prompt: Ids, constraint: Constraint | None) -> None:
        """`prompt` is int32, shape (tokens,): the repetition penalty covers it too."""
        self._sampling = sampling
        self._constraint = constraint
        # Seeds may be negative on the wire; `Random` would take -1 for 1.
        seed = None if sampling.seed is None else sampling.seed & _SEED_MASK
        # One number a token: numpy's generators would cost every start 2.5 MB for that.
        self._random = random.Random(seed)  # noqa: S311 - a draw of text, no secret
        # Only that penalty looks at it, and the first `np.unique` of a process loads numpy.ma.
        self._prompt = np.unique(prompt) if sampling.repetition_penalty != 1 else prompt
        self._counts: dict[int, int] = {}
        self._is_plain = (
            constraint is None
            and not sampling.logit_bias
            and sampling.repetition_penalty == 1
            and sampling.presence_penalty == 0
            and sampling.frequency_penalty == 0
        )

    def choose(self, logits: Logits) -> Choice:
        """Sample from float32 logits of shape (vocab,). The array is not changed.

        Log-probabilities are those of the model's own distribution, before any of the
        settings above. Raises `EngineFailed` where the grammar runs into a limit or no token is
        left, be it by the grammar or because the logits are no numbers.
        """
        adjusted = logits if self._is_plain else self._adjust(logits.copy())
        token = self._draw(adjusted)
        self._counts[token] = self._counts.get(token, 0) + 1
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._sampling.logprobs is None:
            return Choice(token)
        return score(logits, token, self._sampling.logprobs)

    def _adjust(self, logits: Logits) -> Logits:
        sampling = self._sampling
        for token, bias in sampling.logit_bias.items():
            logits[token] += bias
        generated = np.fromiter(self._counts, dtype=np.int64, count=len(self._counts))
        if sampling.repetition_penalty != 1:
            _penalize_repetition(
                logits, np.union1d(self._prompt, generated), sampling.repetition_penalty
            )
        if len(generated):
            counts = np.fromiter(self._counts.values(), dtype=np.float32, count=len(generated))
            logits[generated] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        if self._constraint is not None:
            logits[~self._constraint.allowed(len(logits))] = -np.inf
        return logits

    def _draw(self, logits: Logits) -> int:
        sampling = self._sampling
        best = int(logits.argmax())
        # NaN wins every argmax, and -inf only where no token is left.
        if not np.isfinite(logits[best]):
            raise EngineFailed("the model gave no token that may follow")
        if sampling.temperature == 0 or sampling.top_k == 1:
            return best
        tokens, weights = candidates(logits, sampling)
        edges = np.cumsum(weights)
        place = np.searchsorted(edges, self._random.random() * edges[-1], side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])


def check(sampling: Sampling, vocab_size: int) -> None:
    """Raises `InvalidRequest` for what a model of `vocab_size` tokens cannot honour."""
    if any(not 0 <= token < vocab_size for token in sampling.logit_bias):
        raise InvalidRequest(
            f"logit_bias names a token outside of 0 to {vocab_size - 1}", param="logit_bias"
        )


def candidates(
    logits: Logits, sampling: Sampling
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The tokens that may be drawn and their weights (float64, not normalized).

    Both have shape (candidates,), most likely first where top-k or top-p is set. Weights are
    exp((logit - max) / temperature), so that tiny temperatures do not overflow.
    """
    with np.errstate(over="ignore"):
        scaled = (logits.astype(np.float64) - float(logits.max())) / sampling.temperature
    weights = np.exp(scaled)
    if sampling.top_k <= 0 and sampling.top_p >= 1:
        tokens = np.arange(len(weights))
    else:
        tokens = _most_likely(weights, sampling)
        weights = weights[tokens]
    if sampling.min_p > 0:
        keep = weights >= sampling.min_p * weights.max()
        tokens, weights = tokens[keep], weights[keep]
    return tokens, weights


def score(logits: Logits, token: int, alternatives: int) -> Choice:
    """`token` with its natural log-probability and the `alternatives` most likely tokens."""
    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs = shifted - np.log(np.exp(shifted).sum())
    count = min(alternatives, len(logits))
    best = _top(logprobs, count)
    return Choice(token, float(logprobs[token]), tuple((int(i), float(logprobs[i])) for i in best))


def _most_likely(weights: npt.NDArray[np.float64], sampling: Sampling) -> npt.NDArray[np.int64]:
    limit = sampling.top_k if sampling.top_k > 0 else len(weights)
    total = float(weights.sum()) if sampling.top_k <= 0 else None
    guess = min(limit, _NUCLEUS_GUESS) if sampling.top_p < 1 else limit
    tokens = _top(weights, guess)
    if sampling.top_p >= 1:
        return tokens
    if total is None:
        tokens = _top(weights, limit)
        total = float(weights[tokens].sum())
    edges = np.cumsum(weights[tokens])
    if edges[-1] < sampling.top_p * total and len(tokens) < limit:
        tokens = _top(weights, limit)
        edges = np.cumsum(weights[tokens])
    return tokens[: int(np.searchsorted(edges, sampling.top_p * total)) + 1]


def _top(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    part = np.argpartition(-values, count - 1)[:count]
    return part[np.lexsort((part, -values[part]))]


def _penalize_repetition(logits: Logits, seen: npt.NDArray[np.int64], penalty: float) -> None:
    values = logits[seen]
    logits[seen] = np.where(values > 0, values / penalty, values * penalty)
