"""Coarse-to-fine generator of pix2pixHD (Wang et al., 2018, section 3.1), in networks that train apart.

The trunk (G1 without its last layer) works at the coarsest size; its head makes an image there. Each enhancer (G2)
doubles the size: it adds the features of the coarser network to its own at half its size. `coarse_to_fine` joins them.
"""

import itertools
from collections.abc import Mapping
from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.blocks import ConvStack, ResidualBlock, Upsampling, down, same, up
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.norm import NormKind
from hdtrans.networks.parts import Features, locally


class Trunk(nn.Module):
    """Global generator G1 without its last convolution: (B, channels, H, W) -> (B, width, H, W).

    Args:
        channels: condition channels.
        width: channels after the first convolution; they double with each downsampling.
        downsamples: number of halvings; H and W must be multiples of 2**downsamples.
        blocks: residual blocks at the smallest size.
        recompute: keep less for the backward pass and compute it again.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        downsamples: int = 4,
        blocks: int = 9,
        norm: NormKind = "instance",
        upsampling: Upsampling = "deconv",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsamples + 1)]
        self.segments = ConvStack(
            [
                same(channels, width, 7, norm, "relu"),
                *(down(fine, coarse, norm) for fine, coarse in itertools.pairwise(widths)),
                *(ResidualBlock(widths[-1], norm) for _ in range(blocks)),
                *(up(2 * fine, fine, norm, upsampling) for fine in reversed(widths[:-1])),
            ],
            recompute,
        )

    def forward(self, condition: Features, context: ForwardContext = PLAIN) -> Features:
        return self.segments(condition, context)


class Head(nn.Module):
    """Last layer, features to image: (B, width, H, W) -> (B, out_channels, H, W) in [-1, 1]."""

    def __init__(self, width: int, out_channels: int = 3) -> None:
        super().__init__()
        self.segment = same(width, out_channels, 7, "none", "tanh")

    def forward(self, features: Features, context: ForwardContext = PLAIN) -> Features:
        return self.segment(features, context)


class Enhancer(nn.Module):
    """Local enhancer G2: (B, channels, H, W) and (B, 2*width, H/2, W/2) -> (B, width, H, W), or an image.

    Args:
        channels: condition channels.
        width: channels at its full size; the coarser features have twice as many.
        blocks: residual blocks at half its size.
        out_channels: image channels, given for the finest enhancer, which makes the image itself.
    """

    def __init__(
        self,
        channels: int,
        width: int = 32,
        blocks: int = 3,
        norm: NormKind = "instance",
        upsampling: Upsampling = "deconv",
        out_channels: int | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.before = ConvStack(
            [same(channels, width, 7, norm, "relu"), down(width, 2 * width, norm)],
            recompute,
        )
        self.after = ConvStack(
            [*(ResidualBlock(2 * width, norm) for _ in range(blocks)), up(2 * width, width, norm, upsampling)],
            recompute,
        )
        self.head = None if out_channels is None else Head(width, out_channels)

    def forward(self, condition: Features, below: Features, context: ForwardContext = PLAIN) -> Features:
        features = self.after(self.before(condition, context) + below, context)
        return features if self.head is None else self.head(features, context)


def halve(x: Tensor) -> Tensor:
    """Halve (B, C, H, W) as the original's image pyramids: 3x3 mean, stride 2, padding left out of the mean."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def networks_for(output: str, enhancers: int) -> list[str]:
    """Return the names of the networks behind the image `output` (`head`, `enhancer1`, ...), coarse to fine."""
    if output == "head":
        return ["trunk", "head"]
    level = int(output.removeprefix("enhancer"))
    names = ["trunk", *(f"enhancer{n}" for n in range(1, level + 1))]
    return names if level == enhancers else [*names, f"{output}_head"]


def coarse_to_fine(
    networks: Mapping[str, nn.Module] | nn.ModuleDict,
    condition: Features,
    output: str,
    context: ForwardContext = PLAIN,
) -> Features:
    """Return the image `output` from a condition at its full size: (B, C, H, W) -> (B, 3, H, W) in [-1, 1].

    H and W must be multiples of 2**(downsamples + level), where the level of `head` is 0, of `enhancer1` 1.
    """
    level = 0 if output == "head" else int(output.removeprefix("enhancer"))
    pyramid = [condition]
    for _ in range(level):
        pyramid.append(locally(halve, pyramid[-1], halo=1, scale=Fraction(1, 2)))
    x = networks["trunk"](pyramid[level], context)
    for n in range(1, level + 1):
        x = networks[f"enhancer{n}"](pyramid[level - n], x, context)
    head = "head" if level == 0 else f"{output}_head"
    return networks[head](x, context) if head in networks else x
