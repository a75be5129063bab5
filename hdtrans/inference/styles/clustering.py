"""k-means of weighted points (Lloyd, 1982), seeded as k-means++ (Arthur and Vassilvitskii, 2007)."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_STARTS = 8  # runs, of which the best is kept
_STEPS = 300


def k_means(points: Array, weights: Array, count: int, seed: int) -> Array:
    """Return the centres of the best of several runs, (K, F) float64, K <= `count`.

    Args:
        points: (N, F), N >= 1. If fewer than `count` of them differ, each different point is a centre.
        weights: (N,), > 0; a point of weight 2 counts as two of weight 1.
        count: number of clusters, >= 1.
        seed: seed of the starts, >= 0.
    """
    points, weights = points.astype(np.float64), weights.astype(np.float64)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    best, least = points[:1], np.inf
    for _ in range(_STARTS):
        centres = _converged(points, weights, _spread_out(points, weights, count, random))
        cost = float(weights @ _squares(points, centres).min(1))
        if cost < least:
            best, least = centres, cost
    return best


def assigned(points: Array, centres: Array) -> Array:
    """Return the index of the nearest centre of each point, (N,) int64; the first of equally near ones."""
    nearest: Array = _squares(points, centres).argmin(1)
    return nearest


def _spread_out(points: Array, weights: Array, count: int, random: np.random.Generator) -> Array:
    """Choose starting points, each with probability in proportion to its squared distance from those before."""
    chances = weights
    chosen: list[int] = []
    while len(chosen) < count and chances.sum() > 0:
        ends = np.cumsum(chances)
        chosen.append(min(int(np.searchsorted(ends, random.random() * ends[-1], side="right")), len(points) - 1))
        chances = weights * _squares(points, points[chosen]).min(1)
    return points[chosen]


def _converged(points: Array, weights: Array, centres: Array) -> Array:
    """Move centres to the means of their nearest points until nothing changes; empty clusters are dropped."""
    before = None
    for _ in range(_STEPS):
        nearest = assigned(points, centres)
        if before is not None and np.array_equal(nearest, before):
            break
        sums = np.bincount(nearest, weights, len(centres))
        there = sums > 0
        means = [np.bincount(nearest, weights * column, len(centres))[there] / sums[there] for column in points.T]
        centres, before = np.stack(means, 1), (np.cumsum(there) - 1)[nearest]
    return centres


def _squares(points: Array, centres: Array) -> Array:
    """Return squared distances, (N, K)."""
    squares: Array = np.stack([((points - centre) ** 2).sum(1) for centre in centres], 1)
    return squares
