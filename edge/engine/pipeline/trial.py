"""Whether a way of running a model gives what the model itself gives: found out by trying it.

The reference is the model's plain forward call on whole sequences, with its own attention and
without a cache. Against that stand the same tokens in pieces: two rows that share calls where
they can, one of them read in chunks and continued by one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, LinearAttentionLayer

from edge.engine.base import Ids
from edge.engine.pipeline.memory import KvShape, LayerShape
from edge.engine.pipeline.packed import Misfit
from edge.engine.pipeline.runner import Piece, Runner, numbers
from edge.engine.sampling import Logits

_LONG, _SHORT = 13, 6
_CUTS = (5, 12)
_SEED = 7
# Largest relative distance of logits that rounding explains; a wrong mask or position gives 0.3
# and more.
_TOLERANCE = {torch.float32: 2e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}


@dataclass(frozen=True, slots=True)
class Reference:
    """Two sequences of random tokens and the model's own logits for each of their places."""

    long: Ids
    short: Ids
    long_logits: Logits
    short_logits: Logits
    tolerance: float

    @property
    def vocab_size(self) -> int:
        """How many logits the model gives."""
        return int(self.long_logits.shape[-1])


def reference(model: Any) -> Reference:
    """The plain forward calls of `model`, whose attention must be its own."""
    config = model.config.get_text_config(decoder=True)
    draw = np.random.default_rng(_SEED)
    long, short = (
        draw.integers(0, config.vocab_size, size, dtype=np.int32) for size in (_LONG, _SHORT)
    )
    with torch.inference_mode():
        return Reference(
            long,
            short,
            numbers(_plain(model, long)),
            numbers(_plain(model, short)),
            _TOLERANCE.get(model.dtype, _TOLERANCE[torch.bfloat16]),
        )


def kv_shape(model: Any) -> KvShape:
    """What the layers of `model` put into a cache, found by letting them put one token there.

    Raises `Misfit` where a layer keeps anything but keys and values.
    """
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    tokens = torch.zeros((1, 1), dtype=torch.int64, device=model.device)
    with torch.inference_mode():
        model(input_ids=tokens, past_key_values=cache, use_cache=True)
    layers = {}
    for number, layer in enumerate(cache.layers):
        if not isinstance(layer, DynamicLayer) or isinstance(layer, LinearAttentionLayer):
            raise Misfit(f"layer {number} keeps a state that is no keys and values")
        if layer.keys is None or layer.values is None:
            raise Misfit(f"layer {number} keeps no keys and values")
        keys, values = layer.keys.shape, layer.values.shape
        layers[number] = LayerShape(keys[1], keys[-1], values[-1])
    if not layers:
        raise Misfit("it keeps no keys and values")
    return KvShape(layers, model.dtype, model.device)


def check(runner: Runner, wanted: Reference, **options: Any) -> None:
    """Raise `Misfit` where `runner` gives other logits; `options` go to its `run`."""
    long, short = (runner.room(size) for size in (_LONG + 1, _SHORT + 1))
    first, second = _CUTS
    calls = [
        [Piece(long, wanted.long[:first], 0), Piece(short, wanted.short, 0, True)],
        [Piece(long, wanted.long[first:second], first, True)],
        [Piece(long, wanted.long[second:], second), Piece(short, wanted.long[:1], _SHORT)],
    ]
    if not runner.reads_chunks:
        calls = [
            [Piece(long, wanted.long[:second], 0, True), Piece(short, wanted.short, 0, True)],
            [Piece(long, wanted.long[second:], second)],
        ]
    given = [runner.run(pieces, **options) for pieces in calls]
    middle, last = given[-2][0], given[-1][0]
    _compare(given[0][1], wanted.short_logits, wanted.tolerance)
    _compare(middle, wanted.long_logits[second - len(middle) : second], wanted.tolerance)
    _compare(last, wanted.long_logits[second:], wanted.tolerance)


def _compare(given: Logits, wanted: Logits, tolerance: float) -> None:
    spread = float(np.linalg.norm(wanted - wanted.mean()))
    distance = float(np.linalg.norm(given - wanted)) / max(spread, 1e-6)
    if not distance <= tolerance:
        raise Misfit(f"its logits differ by {distance:.2g} from those of the model's own call")


def _plain(model: Any, ids: Ids) -> torch.Tensor:
    tokens = torch.from_numpy(ids.astype(np.int64))[None].to(model.device)
    logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits[0]
    return logits
