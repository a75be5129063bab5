"""Adversarial losses over the predictions of one or several discriminators, summed over them as in pix2pixHD."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialKind = Literal["lsgan", "hinge", "vanilla"]


def full_precision(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32, others as they are: losses are summed in full precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def generator_loss(kind: AdversarialKind, fake: Sequence[Tensor]) -> Tensor:
    """Return what the generator minimises, given the predictions for its pictures.

    `lsgan` (Mao et al., 2017, equation 9 with labels 0, 1, 1), `vanilla` (Goodfellow et al., 2014, the non-saturating
    form) or `hinge` (Lim and Ye, 2017).
    """
    return sum_over_scales([_generator_term(kind, full_precision(p)) for p in fake])


def real_loss(kind: AdversarialKind, real: Sequence[Tensor]) -> Tensor:
    """Return what a discriminator minimises on true pictures, given its predictions; not yet halved."""
    return sum_over_scales([_real_term(kind, full_precision(p)) for p in real])


def fake_loss(kind: AdversarialKind, fake: Sequence[Tensor]) -> Tensor:
    """Return what a discriminator minimises on generated pictures, given its predictions; not yet halved."""
    return sum_over_scales([_fake_term(kind, full_precision(p)) for p in fake])


def sum_over_scales(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars; there is at least one."""
    return torch.stack(list(terms)).sum()


def _generator_term(kind: AdversarialKind, prediction: Tensor) -> Tensor:
    return -prediction.mean() if kind == "hinge" else _real_term(kind, prediction)


def _real_term(kind: AdversarialKind, prediction: Tensor) -> Tensor:
    if kind == "lsgan":
        return (prediction - 1).square().mean()
    if kind == "hinge":
        return F.relu(1 - prediction).mean()
    return F.softplus(-prediction).mean()


def _fake_term(kind: AdversarialKind, prediction: Tensor) -> Tensor:
    if kind == "lsgan":
        return prediction.square().mean()
    if kind == "hinge":
        return F.relu(1 + prediction).mean()
    return F.softplus(prediction).mean()
