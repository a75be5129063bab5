"""Losses that compare the features of two pictures: feature matching and the perceptual loss."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hdtrans.losses.adversarial import full_precision, sum_over_scales


def feature_matching_loss(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the L1 distance of discriminator features (Wang et al., 2018, equation 4).

    Args:
        fake, real: for each discriminator its feature maps, the last of which, the prediction, is left out; `real`
            gets no gradient. Weighted as in the original: 4 / (number of maps) / (number of discriminators).
    """
    terms = []
    for fake_maps, real_maps in zip(fake, real, strict=True):
        weight = 4 / (len(fake_maps) - 1) / len(fake)
        for a, b in zip(fake_maps[:-1], real_maps[:-1], strict=True):
            terms.append(weight * _distance(a, b.detach()))
    return sum_over_scales(terms)


def perceptual_loss(fake: Sequence[Tensor], real: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted L1 distance of the features of a fixed network (Johnson et al., 2016)."""
    pairs = zip(fake, real, weights, strict=True)
    return sum_over_scales([w * _distance(a, b.detach()) for a, b, w in pairs])


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference, summed in full precision; `b` gets no gradient.

    Differences of bfloat16 are taken in bfloat16 (those of float16 might overflow). They are rounded to 8 bits as the
    features are, their signs, which are all that the gradient takes of them, are exact, and nothing as large as the
    features is made in float32.
    """
    if a.dtype == b.dtype == torch.bfloat16:
        made: Tensor = _DistanceOfHalves.apply(a, b)
        return made
    return F.l1_loss(full_precision(a), full_precision(b))


class _DistanceOfHalves(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        context.save_for_backward(difference)
        return difference.abs().sum(dtype=torch.float32) / difference.numel()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = context.saved_tensors
        return difference.sign().mul_(gradient / difference.numel()), None
