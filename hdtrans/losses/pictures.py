"""Pixel losses between two images."""

import torch.nn.functional as F
from torch import Tensor

from hdtrans.losses.adversarial import full_precision


def l1_loss(a: Tensor, b: Tensor) -> Tensor:
    """L1 loss between two images, E |a - b| (Isola et al., 2017, equation 3), in full precision."""
    return F.l1_loss(full_precision(a), full_precision(b))
