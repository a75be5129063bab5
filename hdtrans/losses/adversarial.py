"""Adversarial losses over the predictions of one or several discriminators, summed over them as in pix2pixHD."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialKind = Literal["lsgan", "hinge", "vanilla"]
CriticKind = Literal["lsgan", "hinge", "vanilla", "wgangp"]  # the last only with `gradient_penalty`


def full_precision(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32, others as they are: losses are summed in full precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def generator_loss(kind: CriticKind, fake: Sequence[Tensor]) -> Tensor:
    """Return what the generator minimises, given the predictions for its pictures.

    `lsgan` (Mao et al., 2017, equation 9 with labels 0, 1, 1), `vanilla` (Goodfellow et al., 2014, the non-saturating
    form), `hinge` (Lim and Ye, 2017) or `wgangp` (Arjovsky et al., 2017).
    """
    return sum_over_scales([_generator_term(kind, full_precision(p)) for p in fake])


def real_loss(kind: CriticKind, real: Sequence[Tensor]) -> Tensor:
    """Return what a discriminator minimises on true pictures, given its predictions; not yet halved."""
    return sum_over_scales([_real_term(kind, full_precision(p)) for p in real])


def fake_loss(kind: CriticKind, fake: Sequence[Tensor]) -> Tensor:
    """Return what a discriminator minimises on generated pictures, given its predictions; not yet halved."""
    return sum_over_scales([_fake_term(kind, full_precision(p)) for p in fake])


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, shares: Tensor) -> Tensor:
    """Return how far the critic's slope is from 1 between true and generated pictures (Gulrajani et al., 2017, eq. 3).

    A picture's value is the mean over its patches, as in the loss itself, so that it is the slope of what the loss
    compares. Compute it in full precision, with a critic that judges every picture for itself (no batch norm).

    Args:
        critic: (B, C, H, W) -> (B, 1, h, w).
        real, fake: (B, C, H, W), of which `fake` gets no gradient.
        shares: (B,) in [0, 1], where between the two each picture's slope is measured.

    Returns:
        The mean of (norm of the slope - 1)^2.
    """
    between = torch.lerp(real, fake.detach(), shares.view(-1, 1, 1, 1)).requires_grad_(True)
    values = critic(between.view_as(between)).flatten(1).mean(1)  # no leaf: hooks on what modules get refuse one here
    (slope,) = torch.autograd.grad(values.sum(), between, create_graph=True)
    norms = (slope.flatten(1).square().sum(1) + 1e-16).sqrt()
    # The slope does not depend on the last bias, and several processes wait for a gradient of each parameter.
    return (norms - 1).square().mean() + 0 * values.mean()


def sum_over_scales(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars; there is at least one."""
    return torch.stack(list(terms)).sum()


def _generator_term(kind: CriticKind, prediction: Tensor) -> Tensor:
    return -prediction.mean() if kind == "hinge" else _real_term(kind, prediction)


def _real_term(kind: CriticKind, prediction: Tensor) -> Tensor:
    if kind == "wgangp":
        return -prediction.mean()
    if kind == "lsgan":
        return (prediction - 1).square().mean()
    if kind == "hinge":
        return F.relu(1 - prediction).mean()
    return F.softplus(-prediction).mean()


def _fake_term(kind: CriticKind, prediction: Tensor) -> Tensor:
    if kind == "wgangp":
        return prediction.mean()
    if kind == "lsgan":
        return prediction.square().mean()
    if kind == "hinge":
        return F.relu(1 + prediction).mean()
    return F.softplus(prediction).mean()
