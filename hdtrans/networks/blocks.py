"""Pieces that every network is made of: convolution blocks, residual blocks, stacks of them."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.dropout import Dropout
from hdtrans.networks.norm import Activation, Norm, NormKind
from hdtrans.networks.padding import Pad, PaddingKind
from hdtrans.networks.parts import Features, kept
from hdtrans.networks.spectral_norm import replayed

Upsampling = Literal["deconv", "resize"]


class ConvBlock(nn.Module):
    """Padding, one convolution, and the norm with its activation: (B, C_in, H, W) -> (B, C_out, H*scale, W*scale).

    Attributes:
        halo: input pixels beyond its own that an output pixel depends on, apart from the norm's statistics.
        scale: output size over input size (1/2 after a stride of 2, 2 after upsampling).
    """

    halo: int
    scale: Fraction

    def __init__(self, pad: Pad, convolution: nn.Module, norm: Norm, halo: int, scale: Fraction) -> None:
        super().__init__()
        self.pad = pad
        self.convolution = convolution
        self.norm = norm
        self.halo = halo
        self.scale = scale

    def forward(self, x: Features, context: ForwardContext = PLAIN, residual: Features | None = None) -> Features:
        """Return norm(convolution(x)), plus `residual` where it is given."""
        gather = self.norm.looks_at_all(context)
        return self.norm(kept(self._convolve, x, self.halo, self.scale, gather), context, residual)

    def _convolve(self, x: Tensor) -> Tensor:
        made: Tensor = self.convolution(self.pad(x))
        return made


class ResizeConvolution(nn.Module):
    """Double the size by nearest neighbour, then convolve (Odena et al., 2016): no checkerboards.

    Args:
        channels, out_channels: before and after.
        bias: the convolution has one.
        padding: kind of padding before the convolution.
        kernel: its side, odd.
    """

    def __init__(
        self, channels: int, out_channels: int, bias: bool = True, padding: PaddingKind = "reflect", kernel: int = 3
    ) -> None:
        super().__init__()
        self.pad = Pad(kernel // 2, padding)
        self.convolution = nn.Conv2d(channels, out_channels, kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.convolution(self.pad(F.interpolate(x, scale_factor=2, mode="nearest")))
        return made


def same(
    channels: int,
    out_channels: int,
    kernel: int,
    norm: NormKind | Norm,
    activation: Activation,
    bias: bool = True,
    padding: PaddingKind = "reflect",
) -> ConvBlock:
    """Return a block that keeps the size; `norm` is a kind, or a `Norm` with its own activation and modulation."""
    convolution = nn.Conv2d(channels, out_channels, kernel, bias=bias)
    half = kernel // 2
    return ConvBlock(Pad(half, padding), convolution, _norm(out_channels, norm, activation), half, Fraction(1))


def down(
    channels: int, out_channels: int, norm: NormKind | Norm, bias: bool = True, padding: PaddingKind = "zero"
) -> ConvBlock:
    """Return a block that halves the size: 3x3, stride 2, ReLU."""
    by_itself = 1 if padding == "zero" else 0  # the convolution's own zeros cost nothing
    convolution = nn.Conv2d(channels, out_channels, 3, stride=2, padding=by_itself, bias=bias)
    pad = Pad(1 - by_itself, padding)
    return ConvBlock(pad, convolution, _norm(out_channels, norm, "relu"), 1, Fraction(1, 2))


def up(
    channels: int,
    out_channels: int,
    norm: NormKind | Norm,
    upsampling: Upsampling,
    bias: bool = True,
    padding: PaddingKind = "reflect",
) -> ConvBlock:
    """Return a block that doubles the size, by transposed convolution (the original) or resize-convolution.

    `padding` is that of the resize-convolution; a transposed convolution knows zeros alone.
    """
    convolution: nn.Module
    if upsampling == "deconv":
        convolution = nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)
    else:
        convolution = ResizeConvolution(channels, out_channels, bias, padding)
    return ConvBlock(Pad(0, "zero"), convolution, _norm(out_channels, norm, "relu"), 1, Fraction(2))


def _norm(channels: int, norm: NormKind | Norm, activation: Activation) -> Norm:
    return norm if isinstance(norm, Norm) else Norm(channels, norm, activation)


class ResidualBlock(nn.Module):
    """Two 3x3 blocks and the identity, without an activation after the sum (Johnson et al., 2016).

    Args:
        channels: in and out.
        norm: kind of both norms, or both of them: the first with an activation, the second without.
        bias: the convolutions have one.
        dropout: between the two, or None.
        padding: kind of padding before both convolutions.
    """

    def __init__(
        self,
        channels: int,
        norm: NormKind | tuple[Norm, Norm],
        bias: bool = True,
        dropout: Dropout | None = None,
        padding: PaddingKind = "reflect",
    ) -> None:
        super().__init__()
        first, second = norm if isinstance(norm, tuple) else (norm, norm)
        self.first = same(channels, channels, 3, first, "relu", bias, padding)
        self.dropout = dropout
        self.second = same(channels, channels, 3, second, "none", bias, padding)

    def forward(self, x: Features, context: ForwardContext = PLAIN) -> Features:
        features = self.first(x, context)
        if self.dropout is not None:
            features = self.dropout(features, context)
        return self.second(features, context, x)


class ConvStack(nn.ModuleList):
    """Convolution and residual blocks, one after the other, each called as `block(x, context)`.

    Args:
        modules: the blocks.
        recompute: keep only each block's input for the backward pass and compute the rest again (activation
            checkpointing, Chen et al., 2016).
    """

    def __init__(self, modules: Sequence[nn.Module], recompute: bool = False) -> None:
        super().__init__(modules)
        self.recompute = recompute

    def forward(self, x: Features, context: ForwardContext = PLAIN) -> Features:
        for module in self:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(module, x, context, use_reentrant=False, preserve_rng_state=False, context_fn=replayed)
            else:
                x = module(x, context)
        return x
