"""Losses that compare the features of two pictures: feature matching and the perceptual loss."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

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
            terms.append(weight * F.l1_loss(full_precision(a), full_precision(b).detach()))
    return sum_over_scales(terms)


def perceptual_loss(fake: Sequence[Tensor], real: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted L1 distance of the features of a fixed network (Johnson et al., 2016)."""
    pairs = zip(fake, real, weights, strict=True)
    return sum_over_scales([w * F.l1_loss(full_precision(a), full_precision(b).detach()) for a, b, w in pairs])
