"""Fréchet and kernel distance between two sets of features, in float64.

Features are (N, D) arrays, one row per picture; `hdtrans.evaluation.judges.features` has the networks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

SUBSETS, SUBSET_SIZE = 100, 1000


def frechet_distance(real: Array, found: Array) -> float:
    """Return the Fréchet distance d^2 of two sets, >= 0, lower is better (FID: Heusel et al. 2017, eq. 6).

    d^2 = |m - m_w|^2 + tr(C + C_w - 2 (C C_w)^(1/2)), with covariances over N - 1. With C = A^T A and C_w = B^T B the
    last trace is the sum of the singular values of A B^T, so no root of an asymmetric product is needed.

    Args:
        real: (N, D) features, N >= 2.
        found: (M, D) features, M >= 2.

    Raises:
        ValueError: a set has fewer than 2 rows, or D differs.
    """
    _check(real, found)
    (mean_a, root_a), (mean_b, root_b) = _moments(real), _moments(found)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross)


@dataclass(frozen=True)
class KernelDistance:
    """Kernel distance: mean and standard deviation of the squared MMD over subsets, and rows per subset."""

    mean: float
    deviation: float
    subset_size: int


def kernel_distance(real: Array, found: Array, seed: int = 0) -> KernelDistance:
    """Return the kernel distance of two sets, lower is better (KID: Binkowski et al. 2018, sec. 4).

    Mean of the unbiased squared MMD with the kernel (x y / D + 1)^3 over 100 random subsets of 1000 rows of each set,
    drawn without replacement, or of half the smaller set if it has fewer than 2000. It can be slightly below 0.

    Args:
        real: (N, D) features, N >= 4.
        found: (M, D) features, M >= 4.
        seed: seed of the subsets, >= 0.

    Raises:
        ValueError: a set has fewer than 4 rows, or D differs.
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
    """Return the unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3), kernel (x y / D + 1)^3."""
    within = [(kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)) for x in (a, b) for kernel in [_kernel(x, x)]]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(a: Floats, b: Floats) -> Floats:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _moments(features: Array) -> tuple[Floats, Floats]:
    """Return the mean, and R with R^T R the covariance: (N, D), or (D, D) by `eigh` if that is smaller."""
    features = features.astype(np.float64)
    mean = features.mean(0)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return mean, centred
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _check(real: Array, found: Array, fewest: int = 2) -> None:
    if real.ndim != 2 or found.ndim != 2 or real.shape[1] != found.shape[1]:
        raise ValueError(f"features of shape {real.shape} and {found.shape}: both must be (N, D) with one D")
    if min(len(real), len(found)) < fewest:
        raise ValueError(f"{len(real)} and {len(found)} pictures; {fewest} or more of each are needed")
