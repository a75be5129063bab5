"""Instance norm, its activation and what is added to it in one operator, which reads and writes channels-last.

torch computes the norm of a channels-last tensor on CUDA in another layout, with a copy there and, before the next
convolution, a copy back, and the activation and the sum are a pass each. Here two passes do it all: one gathers mean
and variance, one writes the result; back too, one gathers two sums and one writes the gradient. Besides the input,
which is not copied, two numbers a picture and channel are kept for the backward pass.

Bytes for each value of b bytes (2 in half precision), counted from what the kernels read and write, not measured; what
the caches save is left out:

| | here | torch |
| --- | --- | --- |
| norm and ReLU | 2b read, b written: 3b | copy 2b, norm 3b, copy back 2b, ReLU in place 2b: 9b |
| norm and the sum of a residual block | 3b read, b written: 4b | copies 4b, norm 3b, sum 3b: 10b |
| gradient, with ReLU | 4b read, b written: 5b | ReLU 3b, copies of the gradient 2b and back 2b, norm 5b: 12b |
| gradient, without | 5b | copies 4b, norm 5b: 9b |

There is no atomic sum: the same input gives the same bits. Statistics and sums are float32, of float64 float64.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from hdtrans.common.planned import planned_for_gpu
from hdtrans.networks.kernels.fused import TYPES, channels_last

_SLOPES = {"none": 1.0, "relu": 0.0, "leaky_relu": 0.2}  # below zero


def fused_instance_norm(
    x: Tensor,
    activation: Literal["none", "relu", "leaky_relu"] = "none",
    residual: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Return `residual + activation(instance norm of x)`, (B, C, H, W) channels-last, in the type of x.

    It computes in float32 (float64 of float64) and rounds once. It can be differentiated any number of times; from the
    second on torch's own operators compute.

    Args:
        x: (B, C, H, W) of floating point numbers, where Triton computes; copied to channels-last if it lies otherwise.
        activation: `leaky_relu` has slope 0.2.
        residual: (B, C, H, W), or None for zero; where its type is another, the sum is torch's, in the wider one.
        epsilon: added to the variance.

    Raises:
        ValueError: x is no batch of pictures, or of a single pixel, which has no variance; the residual has another
            shape; there is no such activation.
    """
    if x.ndim != 4 or x.dtype not in TYPES:
        raise ValueError(f"instance norm takes (B, C, H, W) of floating point numbers, not {tuple(x.shape)} {x.dtype}")
    if x.shape[2] * x.shape[3] < 2:
        raise ValueError(f"instance norm takes more than one pixel, not {tuple(x.shape)}")
    if activation not in _SLOPES:
        raise ValueError(f"activation {activation!r}: there is no such; there are {', '.join(_SLOPES)}")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"the residual has shape {tuple(residual.shape)}, not {tuple(x.shape)}")
    inside = residual if residual is not None and residual.dtype == x.dtype else None
    y: Tensor = _Norm.apply(x, inside, _SLOPES[activation], epsilon)
    return y if residual is None or inside is not None else residual + y


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _normalise(x: Tensor, residual: Tensor | None, slope: float, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, channels-last, and the mean and one over the deviation, (B, C)."""
    inside = None if residual is None else channels_last(residual)
    if planned_for_gpu():
        mean, scale = (x.new_empty(x.shape[:2], dtype=_wide(x)) for _ in range(2))
        return torch.empty_like(x, memory_format=torch.channels_last), mean, scale
    from hdtrans.networks.kernels import fused_norm_kernels as kernels

    return kernels.normalise(channels_last(x), inside, slope, epsilon, _wide(x))


def _differentiate(gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, slope: float) -> Tensor:
    """Return the gradient of x, channels-last."""
    if planned_for_gpu():
        return torch.empty_like(x, memory_format=torch.channels_last)
    from hdtrans.networks.kernels import fused_norm_kernels as kernels

    return kernels.gradient_of_norm(channels_last(gradient), channels_last(x), mean, scale, slope)


class _Norm(torch.autograd.Function):
    """Fused norm. An operator of torch.library would take 40 microseconds more to call, and a step calls a hundred."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, slope: float, epsilon: float) -> Tensor:
        y, mean, scale = _normalise(x, residual, slope, epsilon)
        ctx.save_for_backward(x, mean, scale)
        ctx.slope, ctx.epsilon = slope, epsilon
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = _Gradient.apply(gradient, *ctx.saved_tensors, ctx.slope, ctx.epsilon)
        return of_x, gradient if ctx.needs_input_grad[1] else None, None, None


class _Gradient(torch.autograd.Function):
    """Gradient of the norm by x; mean and scale follow from x and are no inputs of their own."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, slope: float, epsilon: float
    ) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.slope, ctx.epsilon = slope, epsilon
        return _differentiate(gradient, x, mean, scale, slope)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate <weight, gradient of x> by the gradient that came in and by x, with torch's operators.

        With n the normalised x, s one over the deviation, h the gradient behind the activation and
        P(v) = v - mean(v) - n * mean(v * n), the gradient of x is s * P(h). P is symmetric, so that the gradient's own
        is simple; x has its part in it through s and n.
        """
        gradient, x = ctx.saved_tensors
        wide = _wide(x)

        def mean(v: Tensor) -> Tensor:
            return v.mean((2, 3), keepdim=True)

        def through_activation(v: Tensor) -> Tensor:
            return torch.where(n > 0, v, v * ctx.slope)

        u, g, centred = weight.to(wide), gradient.to(wide), x.to(wide) - mean(x.to(wide))
        s = torch.rsqrt(mean(centred.square()) + ctx.epsilon)
        n = centred * s
        h = through_activation(g)
        of_weight, of_gradient = mean(u * n), mean(h * n)
        along_weight, along_gradient = u - mean(u) - n * of_weight, h - mean(h) - n * of_gradient
        common = mean(u * h) - mean(u) * mean(h) - of_weight * of_gradient
        of_x = -s.square() * (of_gradient * along_weight + of_weight * along_gradient + n * common)
        return through_activation(s * along_weight).to(gradient.dtype), of_x.to(x.dtype), None, None, None, None
