"""The coarse-to-fine generator of pix2pixHD (Wang et al., 2018, section 3.1), in networks that train apart.

The trunk works at the coarsest size; its head makes the picture there. Each enhancer doubles the size: it adds what
comes from below to its own features at half its size. `coarse_to_fine` puts them together.
"""

import itertools
from collections.abc import Mapping
from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.blocks import NormKind, ResidualBlock, Segments, Statistics, Upsampling, down, same, up
from hdtrans.networks.parts import Features, locally


class Trunk(nn.Module):
    """The global generator without its last convolution: (B, channels, H, W) -> (B, width, H, W).

    Args:
        channels: of the condition.
        width: channels after the first convolution; they double with each downsampling.
        downsamples: how often the size is halved; H and W must be multiples of 2**downsamples.
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
        self.segments = Segments(
            [
                same(channels, width, 7, norm, "relu"),
                *(down(fine, coarse, norm) for fine, coarse in itertools.pairwise(widths)),
                *(ResidualBlock(widths[-1], norm) for _ in range(blocks)),
                *(up(2 * fine, fine, norm, upsampling) for fine in reversed(widths[:-1])),
            ],
            recompute,
        )

    def forward(self, condition: Features, statistics: Statistics | None = None) -> Features:
        return self.segments(condition, statistics)


class Head(nn.Module):
    """Features to picture: (B, width, H, W) -> (B, out_channels, H, W) in [-1, 1]."""

    def __init__(self, width: int, out_channels: int = 3) -> None:
        super().__init__()
        self.segment = same(width, out_channels, 7, "none", "tanh")

    def forward(self, features: Features) -> Features:
        return self.segment(features)


class Enhancer(nn.Module):
    """One local enhancer: (B, channels, H, W) and (B, 2*width, H/2, W/2) -> (B, width, H, W), or a picture.

    Args:
        channels: of the condition.
        width: channels at its full size; what comes from below has twice as many.
        blocks: residual blocks at half its size.
        out_channels: given for the finest enhancer, which makes the picture itself.
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
        self.before = Segments(
            [same(channels, width, 7, norm, "relu"), down(width, 2 * width, norm)],
            recompute,
        )
        self.after = Segments(
            [*(ResidualBlock(2 * width, norm) for _ in range(blocks)), up(2 * width, width, norm, upsampling)],
            recompute,
        )
        self.head = None if out_channels is None else Head(width, out_channels)

    def forward(self, condition: Features, below: Features, statistics: Statistics | None = None) -> Features:
        features = self.after(self.before(condition, statistics) + below, statistics)
        return features if self.head is None else self.head(features)


def halve(x: Tensor) -> Tensor:
    """Halve (B, C, H, W), as the image pyramids of the original do: 3x3 mean, stride 2, edges without padding."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def networks_for(output: str, enhancers: int) -> list[str]:
    """Return the names of the networks that make the picture `output` (`head`, `enhancer1`, ...), coarse to fine."""
    if output == "head":
        return ["trunk", "head"]
    level = int(output.removeprefix("enhancer"))
    names = ["trunk", *(f"enhancer{n}" for n in range(1, level + 1))]
    return names if level == enhancers else [*names, f"{output}_head"]


def coarse_to_fine(
    networks: Mapping[str, nn.Module] | nn.ModuleDict,
    condition: Features,
    output: str,
    statistics: Statistics | None = None,
) -> Features:
    """Make the picture `output` from a condition at its full size: (B, C, H, W) -> (B, 3, H, W) in [-1, 1].

    H and W must be multiples of 2**(downsamples + level), where the level of `head` is 0, of `enhancer1` 1. With
    `statistics: image`, each picture is normalised by its own; None, by those the norms have of themselves.
    """
    level = 0 if output == "head" else int(output.removeprefix("enhancer"))
    pyramid = [condition]
    for _ in range(level):
        pyramid.append(locally(halve, pyramid[-1], halo=1, scale=Fraction(1, 2)))
    x = networks["trunk"](pyramid[level], statistics)
    for n in range(1, level + 1):
        x = networks[f"enhancer{n}"](pyramid[level - n], x, statistics)
    head = "head" if level == 0 else f"{output}_head"
    return networks[head](x) if head in networks else x
