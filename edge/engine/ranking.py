"""The largest of many numbers, without sorting them all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WIDEST_BLOCK = 64
_SORTED_SHARE = 8
_BINS_PER_NAT, _LAST_BIN = 64, 1 << 13


def top(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """The places of the `count` largest `values` (numbers,), largest first, ties in order.

    Fewer where the others are -inf. The largest of each block of numbers bound from below what
    can be among them: `count` blocks whose largest is at least x hold `count` numbers that are.
    """
    size = len(values)
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    if count * _SORTED_SHARE >= size:
        return _ranked(values, np.arange(size))[:count]
    width = min(_WIDEST_BLOCK, size // (2 * count))
    whole = size // width * width
    largest = np.append(values[:whole].reshape(-1, width).max(axis=1), values[whole:])
    least = np.partition(largest, len(largest) - count)[len(largest) - count]
    found = np.flatnonzero(values >= least if least > -np.inf else values > -np.inf)
    return _ranked(values, found)[:count]


def heaviest(weights: npt.NDArray[np.float32], mass: float) -> npt.NDArray[np.int64]:
    """The places of the fewest `weights` (numbers from 0 to 1,) that add up to `mass`, unordered.

    Only those on the edge are sorted: the rest falls into bins of like size.
    """
    with np.errstate(divide="ignore"):
        depths = np.minimum(-np.log(weights) * _BINS_PER_NAT, _LAST_BIN).astype(np.int64)
    edges = np.cumsum(np.bincount(depths, weights=weights))
    edge = min(int(np.searchsorted(edges, mass)), len(edges) - 1)
    inside = np.flatnonzero(depths < edge)
    rest = _ranked(weights, np.flatnonzero(depths == edge))
    missing = mass - (float(edges[edge - 1]) if edge else 0.0)
    size = int(np.searchsorted(np.cumsum(weights[rest], dtype=np.float64), missing)) + 1
    return np.concatenate([inside, rest[:size]])


def _ranked(
    values: npt.NDArray[np.float32], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    ranked: npt.NDArray[np.int64] = places[np.argsort(-values[places], kind="stable")]
    return ranked
