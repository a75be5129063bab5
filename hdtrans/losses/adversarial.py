"""Adversarial losses over predictions of one or several discriminators, summed over them as in pix2pixHD.

D(x) is a map of predictions, one for each patch; E is its mean over images and patches.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialKind = Literal["lsgan", "hinge", "vanilla"]
CriticKind = Literal["lsgan", "hinge", "vanilla", "wgangp"]  # the last only with `gradient_penalty`


def full_precision(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32, others unchanged: losses are summed in full precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def generator_loss(kind: CriticKind, fake: Sequence[Tensor]) -> Tensor:
    """Generator loss L_G of the predictions D(G(z)).

    - `lsgan`: E (D - 1)^2 (Mao et al., 2017, equation 9 with a, b, c = 0, 1, 1, without the factor 1/2);
    - `vanilla`: -E log sigmoid(D), non-saturating (Goodfellow et al., 2014, section 3);
    - `hinge`: -E D (Lim and Ye, 2017); `wgangp`: -E D (Arjovsky et al., 2017, equation 2).

    Args:
        kind: as above.
        fake: predictions for generated images, one tensor for each discriminator.
    """
    return sum_over_scales([_generator_term(kind, full_precision(p)) for p in fake])


def real_loss(kind: CriticKind, real: Sequence[Tensor]) -> Tensor:
    """Discriminator loss L_real of predictions for true images, without the factor 1/2.

    `lsgan`: E (D - 1)^2; `vanilla`: -E log sigmoid(D); `hinge`: E max(0, 1 - D); `wgangp`: -E D.
    """
    return sum_over_scales([_real_term(kind, full_precision(p)) for p in real])


def fake_loss(kind: CriticKind, fake: Sequence[Tensor]) -> Tensor:
    """Discriminator loss L_fake of predictions for generated images, without the factor 1/2.

    `lsgan`: E D^2; `vanilla`: -E log(1 - sigmoid(D)); `hinge`: E max(0, 1 + D); `wgangp`: E D.
    """
    return sum_over_scales([_fake_term(kind, full_precision(p)) for p in fake])


def boundary(kind: CriticKind) -> float:
    """Return the prediction halfway between true and generated pictures: 0.5 of `lsgan`, 0 of the others."""
    return 0.5 if kind == "lsgan" else 0.0


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
    """Gradient penalty E (|grad D(x^)| - 1)^2, x^ between a true and a generated image (Gulrajani et al., 2017, eq. 3).

    D(x^) is the mean over an image's patches, as in the loss itself. Compute it in full precision, with a critic that
    judges every image for itself (no batch norm).

    Args:
        critic: (B, C, H, W) -> (B, 1, h, w).
        real, fake: (B, C, H, W), of which `fake` gets no gradient.
        between: (B,) in [0, 1], place of x^: 0 is the true image, 1 the generated one.
    """
    mixed = torch.lerp(real, fake.detach(), between.view(-1, 1, 1, 1)).requires_grad_(True)
    values = critic(mixed.view_as(mixed)).flatten(1).mean(1)  # (B,); a view, for hooks on inputs refuse a leaf here
    (slope,) = torch.autograd.grad(values.sum(), mixed, create_graph=True)  # (B, C, H, W)
    norms = (slope.flatten(1).square().sum(1) + 1e-16).sqrt()  # (B,); the root has no slope at 0
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
