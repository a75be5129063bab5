"""Distances between two sets of pictures by their features: Fréchet distance and kernel distance, in float64.

Features are (N, D) numbers, one row a picture. Where they come from is in `hdtrans.evaluation.judges.features`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

SUBSETS, SUBSET_SIZE = 100, 1000


def frechet_distance(real: Array, found: Array) -> float:
    """Return the Fréchet distance of the normal distributions of two sets (Heusel et al., 2017, equation 6).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with covariances over N - 1. With C1 = A^T A and C2 = B^T B the last
    trace is the sum of the singular values of A B^T, which needs no root of a product that is not symmetric.

    Raises:
        ValueError: a set has fewer than 2 rows, or they differ in width.
    """
    _check(real, found)
    (mean_a, root_a), (mean_b, root_b) = _moments(real), _moments(found)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross)


@dataclass(frozen=True)
class KernelDistance:
    """The mean of the squared MMD over subsets, its standard deviation over them, and the size of a subset."""

    mean: float
    deviation: float
    subset_size: int


def kernel_distance(real: Array, found: Array, seed: int = 0) -> KernelDistance:
    """Return the kernel distance of two sets (Binkowski et al., 2018, section 3).

    The unbiased squared MMD with the kernel (x y / D + 1)^3, over 100 random subsets of 1000 rows of each set without
    replacement; of half the smaller set where that has fewer than 2000. It can be a little below 0.

    Raises:
        ValueError: a set has fewer than 4 rows, or they differ in width.
    """
    _check(real, found, 4)
    size = min(SUBSET_SIZE, len(real) // 2, len(found) // 2)
    random = np.random.default_rng(seed)
    real, found = real.astype(np.float64), found.astype(np.float64)
    values = [
        squared_mmd(
            real[random.permutation(len(real))[:size]],
            found[random.permutation(len(found))[:size]],
        )
        for _ in range(SUBSETS)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def squared_mmd(a: Floats, b: Floats) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets with the kernel (x y / D + 1)^3."""
    within = [(kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)) for x in (a, b) for kernel in [_kernel(x, x)]]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(a: Floats, b: Floats) -> Floats:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _moments(features: Array) -> tuple[Floats, Floats]:
    """Return the mean, and a matrix R with R^T R the covariance: (N, D), or (D, D) by `eigh` where that is smaller."""
    features = features.astype(np.float64)
    mean = features.mean(0)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return mean, centred
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _check(real: Array, found: Array, fewest: int = 2) -> None:
    if real.ndim != 2 or found.ndim != 2 or real.shape[1] != found.shape[1]:
        raise ValueError(f"features of shape {real.shape} and {found.shape}: both are (N, D) with one D")
    if min(len(real), len(found)) < fewest:
        raise ValueError(f"{len(real)} and {len(found)} pictures: {fewest} or more of each are needed")
