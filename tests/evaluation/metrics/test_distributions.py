"""Fréchet and kernel distance against known answers, scipy and torchmetrics."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from hdtrans.evaluation.metrics.distributions import frechet_distance, kernel_distance, squared_mmd


def _features(rows: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, width)) @ random.standard_normal((width, width)) + shift


@pytest.mark.parametrize(("first", "second"), [(60, 50), (12, 50), (9, 12)])  # more and fewer rows than columns
def test_frechet_as_the_formula(first: int, second: int) -> None:
    real, found = _features(first, 20, 0), _features(second, 20, 1, 0.3)
    a, b = np.cov(real.T), np.cov(found.T)
    expected = np.square(real.mean(0) - found.mean(0)).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(real, found) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_shifted_sets_is_the_shift() -> None:
    real = _features(100, 4, 0)
    assert frechet_distance(real, real + np.array([3, 0, 4, 0])) == pytest.approx(25)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


class _Flat(nn.Module):
    """Extractor for torchmetrics: the first values of a picture."""

    num_features = 16

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)[:, :16].float() / 255


@pytest.mark.filterwarnings("ignore")
def test_as_torchmetrics() -> None:
    real, found = torch.randint(0, 256, (2, 48, 3, 4, 4), generator=torch.Generator().manual_seed(0)).unbind()
    found = found // 2
    fid = FrechetInceptionDistance(_Flat(), normalize=False)
    kid = KernelInceptionDistance(_Flat(), subsets=2, subset_size=48)
    for theirs in (fid, kid):
        theirs.update(real.to(torch.uint8), real=True)
        theirs.update(found.to(torch.uint8), real=False)
    ours = [_Flat()(x).numpy() for x in (real, found)]
    assert frechet_distance(*ours) == pytest.approx(fid.compute().item(), rel=1e-4)
    assert squared_mmd(*(x.astype(np.float64) for x in ours)) == pytest.approx(kid.compute()[0].item(), rel=1e-4)


def test_kernel_distance_has_its_deviation() -> None:
    real, more = np.random.default_rng(0).standard_normal((2, 40, 8))
    same, other = kernel_distance(real, more), kernel_distance(real, real + 2)
    assert other.mean > 20 * abs(same.mean) and other.deviation > 0 and other.subset_size == 20
    assert kernel_distance(real, real + 2) == other  # the same subsets each time


def test_unequal_or_small_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="one D"):
        frechet_distance(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="2 or more"):
        frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="4 or more"):
        kernel_distance(np.zeros((3, 3)), np.zeros((4, 3)))
