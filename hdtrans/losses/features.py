"""Losses between feature maps of two images: feature matching and the perceptual loss."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hdtrans.losses.adversarial import sum_over_scales

_PIXELS = 2**21  # pixels of images whose feature maps are kept at a time: enough to keep a GPU busy


def feature_matching_loss(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching loss L_FM, the L1 distance of discriminator feature maps (Wang et al., 2018, equation 4).

    Each map's mean is weighted as in the original program: 4 / (number of maps) / (number of discriminators).

    Args:
        fake, real: feature maps for each discriminator, of which the last, the prediction, is left out; `real` gets no
            gradient.
    """
    terms = []
    for fake_maps, real_maps in zip(fake, real, strict=True):
        weight = 4 / (len(fake_maps) - 1) / len(fake)
        for a, b in zip(fake_maps[:-1], real_maps[:-1], strict=True):
            terms.append(weight * _distance(a, b.detach()))
    return sum_over_scales(terms)


def perceptual_loss(
    features: Callable[[Tensor], Iterable[Tensor]], fake: Tensor, real: Tensor, weights: Sequence[float]
) -> Tensor:
    """Perceptual loss, sum_i w_i E |F_i(fake) - F_i(real)| of a fixed network F (Johnson et al., 2016, section 3.2).

    The feature maps of a network such as VGG19 take more memory than all else in a step. So the gradient is computed
    with the loss, for two million pixels of images at a time; it is all that stays, as large as `fake`.

    Args:
        features: F, yields one feature map for each weight; an image's do not depend on the others. They are read pair
            by pair, and those of `real` are not kept.
        fake, real: (B, C, H, W), of which `real` gets no gradient.
        weights: w_i.
    """
    if not fake.requires_grad:
        return _distance_at_depths(features, fake, real, weights)
    made: Tensor = _WithGradient.apply(features, fake, real.detach(), weights)
    return made


class _WithGradient(torch.autograd.Function):
    """Perceptual loss whose forward pass computes its gradient too."""

    @staticmethod
    def forward(
        context: Any,
        features: Callable[[Tensor], Iterable[Tensor]],
        fake: Tensor,
        real: Tensor,
        weights: Sequence[float],
    ) -> Tensor:
        pixels = fake.shape[-2] * fake.shape[-1]
        at_once = max(1, _PIXELS // pixels)
        context.scale = 1.0
        if fake.dtype == torch.float16:
            # The gradient of a mean over so many values would vanish; VGG19's deepest maps have two a pixel.
            context.scale = 2.0 ** math.floor(math.log2(pixels * len(fake) / max(weights)) - 3)
        values, gradients = [], []
        for a, b in zip(fake.split(at_once), real.split(at_once), strict=True):
            with torch.enable_grad():
                leaf = a.detach().requires_grad_()
                value = len(a) / len(fake) * _distance_at_depths(features, leaf, b, weights)
                gradients += torch.autograd.grad(context.scale * value, leaf)
            values.append(value.detach())
            del value, leaf
        context.save_for_backward(torch.cat(gradients))
        return sum_over_scales(values)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        (own,) = context.saved_tensors
        return None, own * (gradient / context.scale), None, None


def _distance_at_depths(
    features: Callable[[Tensor], Iterable[Tensor]], fake: Tensor, real: Tensor, weights: Sequence[float]
) -> Tensor:
    # No name holds a feature while the next ones are made.
    fakes, reals = iter(features(fake)), iter(features(real))
    return sum_over_scales([weight * _distance(next(fakes), next(reals)) for weight in weights])


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference, summed in full precision; `b` gets no gradient.

    Differences of bfloat16 are taken in bfloat16 (those of float16 might overflow). They are rounded to 8 bits as the
    feature maps are; their signs, all that the gradient needs, are exact. Nothing as large as the maps is float32.
    """
    if a.dtype == torch.float16:
        a, b = a.float(), b.float()
    made: Tensor = _Distance.apply(a, b)
    return made


class _Distance(torch.autograd.Function):
    """Mean absolute difference that saves one byte for each value, its sign; torch's own saves both tensors."""

    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        context.save_for_backward(difference.sign().to(torch.int8))
        context.dtype = a.dtype
        return difference.abs_().sum(dtype=torch.promote_types(a.dtype, torch.float32)) / a.numel()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (sign,) = context.saved_tensors
        return sign.to(context.dtype).mul_(gradient / sign.numel()), None
