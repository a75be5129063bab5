"""Padding by reflection that reads and writes channels-last.

On CUDA torch pads in another layout, copying what is channels-last, and its gradient adds atomically, in any order,
into zeros. Here each value of the result is written once, from one value forth and from those that were made of it
back: the same input gives the same bits. For each value of b bytes 2b are read and written forth, and 2b back, against
4b and, without the atomic sums, 5b; counted, not measured.
"""

from typing import Any

import torch
from torch import Tensor

from hdtrans.common.planned import planned_for_gpu
from hdtrans.networks.kernels.fused import TYPES, channels_last


def fused_reflection_pad(x: Tensor, size: int) -> Tensor:
    """Return (B, C, H, W) with `size` pixels more on every side, by reflection, channels-last.

    It can be differentiated any number of times.

    Args:
        x: floating point numbers, where Triton computes; copied to channels-last if they lie otherwise.
        size: at least 0, and less than H and W.

    Raises:
        ValueError: x is no batch of pictures, or `size` does not fit it.
    """
    if x.ndim != 4 or x.dtype not in TYPES:
        raise ValueError(f"padding takes (B, C, H, W) of floating point numbers, not {tuple(x.shape)} {x.dtype}")
    if not 0 <= size < min(x.shape[2:]):
        raise ValueError(
            f"padding of {size} pixels by reflection: it has to be less than the sides of {tuple(x.shape)}"
        )
    made: Tensor = _Pad.apply(x, size)
    return made


def _resized(x: Tensor, by: int) -> Tensor:
    batch, channels, height, width = x.shape
    shape = (batch, channels, height + by, width + by)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


class _Pad(torch.autograd.Function):
    """Pad."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.size = size
        result = _resized(x, 2 * size)
        if not planned_for_gpu():
            from hdtrans.networks.kernels import fused_pad_kernels as kernels

            kernels.pad(channels_last(x), result, size)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Fold.apply(gradient, ctx.size), None


class _Fold(torch.autograd.Function):
    """Add every value of a padded picture to that which it was made of: the transpose of `_Pad`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.size = size
        result = _resized(x, -2 * size)
        if not planned_for_gpu():
            from hdtrans.networks.kernels import fused_pad_kernels as kernels

            kernels.fold(channels_last(x), result, size)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Pad.apply(gradient, ctx.size), None
