"""Padding by reflection that reads and writes channels-last.

On CUDA torch pads in another layout, copying what is channels-last, and its gradient adds atomically, in any order,
into zeros. Here each value of the result is written once, from one value forth and from those that were made of it
back: the same input gives the same bits. For each value of b bytes 2b are read and written forth, and 2b back, against
4b and, without the atomic sums, 5b; counted, not measured.
"""

from typing import Any

import torch
from torch import Tensor

from hdtrans.networks.fused import TYPES, channels_last


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
    return _pad(x, size)


def _resized(x: Tensor, by: int) -> Tensor:
    batch, channels, height, width = x.shape
    shape = (batch, channels, height + by, width + by)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.custom_op("hdtrans::reflection_pad", mutates_args=())
def _pad(x: Tensor, size: int) -> Tensor:
    """Pad."""
    from hdtrans.networks import fused_pad_kernels as kernels

    result = _resized(x, 2 * size)
    kernels.pad(channels_last(x), result, size)
    return result


@torch.library.custom_op("hdtrans::reflection_pad_gradient", mutates_args=())
def _fold(x: Tensor, size: int) -> Tensor:
    """Add every value of a padded picture to that which it was made of: the transpose of `_pad`."""
    from hdtrans.networks import fused_pad_kernels as kernels

    result = _resized(x, -2 * size)
    kernels.fold(channels_last(x), result, size)
    return result


@_pad.register_fake
def _(x: Tensor, size: int) -> Tensor:
    return _resized(x, 2 * size)


@_fold.register_fake
def _(x: Tensor, size: int) -> Tensor:
    return _resized(x, -2 * size)


def _keep(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.size = inputs[1]


_pad.register_autograd(lambda ctx, gradient: (_fold(gradient, ctx.size), None), setup_context=_keep)
_fold.register_autograd(lambda ctx, gradient: (_pad(gradient, ctx.size), None), setup_context=_keep)
