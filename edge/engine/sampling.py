"""The next token from the logits, in numpy. One `Sampler` a row.

Order: logit bias, penalties, grammar mask, temperature, top-k, top-p, min-p, draw.
"""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt

from edge.engine import ranking
from edge.engine.base import Choice, Constraint, Ids
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Sampling

Logits = npt.NDArray[np.float32]
_NUCLEUS_GUESS = 512
_BLOCK = 256
_COLDEST = 1e-30  # any lower one is as greedy, and would not fit a float32
_SLACK = 1e-3  # of a logit, for what is filtered more exactly afterwards
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
        self._prompt = prompt
        self._seen: npt.NDArray[np.bool_] | None = None
        self._biased = np.fromiter(sampling.logit_bias, dtype=np.int64)
        self._biases = np.fromiter(sampling.logit_bias.values(), dtype=np.float32)
        self._counts: dict[int, int] = {}
        self._is_plain = (
            constraint is None
            and not sampling.logit_bias
            and sampling.repetition_penalty == 1
            and sampling.presence_penalty == 0
            and sampling.frequency_penalty == 0
        )

    def forced(self) -> list[int]:
        """Tokens that the grammar is about to demand; often none."""
        return [] if self._constraint is None else self._constraint.forced()

    def choose(self, logits: Logits) -> Choice:
        """Sample from float32 logits of shape (vocab,). The array is not changed.

        Log-probabilities are those of the model's own distribution, before any of the
        settings above. Raises `EngineFailed` where the grammar runs into a limit or no token is
        left, be it by the grammar or because the logits are no numbers.
        """
        adjusted = logits if self._is_plain else self._adjust(logits.copy())
        token = self._draw(adjusted)
        self._counts[token] = self._counts.get(token, 0) + 1
        if self._seen is not None:
            self._seen[token] = True
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._sampling.logprobs is None:
            return Choice(token)
        return score(logits, token, self._sampling.logprobs)

    def _adjust(self, logits: Logits) -> Logits:
        sampling = self._sampling
        if sampling.logit_bias:
            logits[self._biased] += self._biases
        generated = np.fromiter(self._counts, dtype=np.int64, count=len(self._counts))
        if sampling.repetition_penalty != 1:
            _penalize_repetition(logits, self._seen_in(len(logits)), sampling.repetition_penalty)
        if len(generated):
            counts = np.fromiter(self._counts.values(), dtype=np.float32, count=len(generated))
            logits[generated] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        if self._constraint is not None:
            logits[~self._constraint.allowed(len(logits))] = -np.inf
        return logits

    def _seen_in(self, vocab_size: int) -> npt.NDArray[np.bool_]:
        """True for each token of the prompt and of the answer, shape (vocab_size,)."""
        if self._seen is None:
            self._seen = np.zeros(vocab_size, dtype=np.bool_)
            self._seen[self._prompt] = True
        return self._seen

    def _draw(self, logits: Logits) -> int:
        sampling = self._sampling
        best = int(logits.argmax())
        # NaN wins every argmax, and -inf only where no token is left.
        if not np.isfinite(logits[best]):
            raise EngineFailed("the model gave no token that may follow")
        if sampling.temperature == 0 or sampling.top_k == 1:
            return best
        if sampling.top_k <= 0 and sampling.top_p >= 1 and sampling.min_p <= 0:
            return _draw_any(logits, best, sampling.temperature, self._random.random())
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

    Both have shape (candidates,), most likely first where top-k or top-p leave few. Weights are
    exp((logit - max) / temperature), so that tiny temperatures do not overflow.
    """
    best = float(logits.max())
    if sampling.top_k > 0 or sampling.top_p < 1:
        tokens, weights = _most_likely(logits, sampling, best)
    else:
        least = sampling.min_p and best + sampling.temperature * math.log(sampling.min_p) - _SLACK
        tokens = np.flatnonzero(logits >= least) if sampling.min_p else np.arange(len(logits))
        weights = _weights(logits[tokens], best, sampling.temperature)
    if sampling.min_p > 0:
        keep = weights >= sampling.min_p * weights.max()
        tokens, weights = tokens[keep], weights[keep]
    return tokens, weights


def score(logits: Logits, token: int, alternatives: int) -> Choice:
    """`token` with its natural log-probability and the `alternatives` most likely tokens."""
    best = float(logits.max())
    mass = math.log(_rough_weights(logits, best, 1.0).sum(dtype=np.float64))
    tokens = ranking.top(logits, alternatives)
    top = tuple((int(other), float(logits[other]) - best - mass) for other in tokens)
    return Choice(token, float(logits[token]) - best - mass, top)


def _weights(logits: Logits, best: float, temperature: float) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):
        scaled = (logits.astype(np.float64) - best) / max(temperature, _COLDEST)
    return np.exp(scaled)


def _rough_weights(logits: Logits, best: float, temperature: float) -> Logits:
    """Weights of a whole vocabulary, right to the sixth digit at a tenth of the time."""
    with np.errstate(over="ignore"):
        scaled = (logits - np.float32(best)) * np.float32(1 / max(temperature, _COLDEST))
    weights: Logits = np.exp(scaled)
    return weights


def _most_likely(
    logits: Logits, sampling: Sampling, best: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The first tokens by likelihood, as many as top-k and top-p leave."""
    count = min(sampling.top_k if sampling.top_k > 0 else _NUCLEUS_GUESS, len(logits))
    tokens = ranking.top(logits, count)
    weights = _weights(logits[tokens], best, sampling.temperature)
    if sampling.top_p >= 1:
        return tokens, weights
    edges = np.cumsum(weights)
    if sampling.top_k > 0:
        mass = sampling.top_p * float(edges[-1])
    else:
        rough = _rough_weights(logits, best, sampling.temperature)
        mass = sampling.top_p * float(rough.sum(dtype=np.float64))
        if edges[-1] < mass and count < len(logits):
            tokens = ranking.heaviest(rough, mass)
            return tokens, _weights(logits[tokens], best, sampling.temperature)
    size = int(np.searchsorted(edges, mass)) + 1
    return tokens[:size], weights[:size]


def _draw_any(logits: Logits, best: int, temperature: float, place: float) -> int:
    """The token at `place` (0 to 1) of the whole distribution, in the order of ids."""
    weights = _rough_weights(logits, float(logits[best]), temperature)
    whole = len(weights) // _BLOCK * _BLOCK
    blocks = weights[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.float64)
    edges = np.cumsum(np.append(blocks, weights[whole:].sum(dtype=np.float64)))
    wanted = place * edges[-1]
    block = min(int(np.searchsorted(edges, wanted, side="right")), len(edges) - 1)
    inside = np.cumsum(weights[block * _BLOCK : (block + 1) * _BLOCK], dtype=np.float64)
    before = edges[block - 1] if block else 0.0
    token = block * _BLOCK + int(np.searchsorted(inside, wanted - before, side="right"))
    # Rounding may lead past the last token of a block, or to one that has no weight.
    return token if token < len(weights) and weights[token] > 0 else best


def _penalize_repetition(logits: Logits, seen: npt.NDArray[np.bool_], penalty: float) -> None:
    values = logits[seen]
    logits[seen] = np.where(values > 0, values / penalty, values * penalty)
