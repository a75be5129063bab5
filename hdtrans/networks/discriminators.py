"""Patch discriminators at one or several scales (Wang et al., 2018, section 3.2; Isola et al., 2017)."""

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial

from torch import Tensor, nn

from hdtrans.networks.blocks import ConvBlock
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.generators import halve
from hdtrans.networks.norm import Activation, Norm, NormKind
from hdtrans.networks.padding import Pad, PaddingKind
from hdtrans.networks.spectral_norm import SpectralConv2d

PADDING = 2
"""Padding of each layer of pix2pixHD's patch discriminators, in pixels."""


class PatchDiscriminator(nn.Module):
    """Patch discriminator: (B, channels, H, W) -> its feature maps, the last of them the prediction.

    With the defaults, one of pix2pixHD's. pix2pix and CycleGAN pad by 1, widen up to 8 times `width`, and have no bias
    before a norm other than `instance`; with 3 layers a patch is 70x70.

    Args:
        channels: condition and image together.
        width: channels after the first layer; they double with each layer, up to `widest`.
        layers: number of layers with stride 2; one with stride 1 and the prediction follow.
        norm: after all layers but the first and the prediction.
        padding: pixels of padding at each layer.
        widest: most channels of a layer.
        bias: layers with a norm have a bias.
        padding_kind: kind of that padding, zeros in the originals of this package's methods.
        spectral_norm: divide every convolution by its largest singular value (Miyato et al., 2018).
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        layers: int = 3,
        norm: NormKind = "instance",
        padding: int = PADDING,
        widest: int = 512,
        bias: bool = True,
        padding_kind: PaddingKind = "zero",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        pad = padding, padding_kind
        block = partial(_block, spectral_norm=spectral_norm)
        widths = [min(width * 2**n, widest) for n in range(layers + 1)]
        self.segments = nn.ModuleList([block(channels, width, 2, "none", "leaky_relu", pad)])
        for n in range(1, layers + 1):
            stride = 2 if n < layers else 1
            self.segments.append(block(widths[n - 1], widths[n], stride, norm, "leaky_relu", pad, bias))
        self.segments.append(block(widths[-1], 1, 1, "none", "none", pad))

    def forward(self, x: Tensor, context: ForwardContext = PLAIN) -> list[Tensor]:
        features = []
        for block in self.segments:
            x = block(x, context)
            features.append(x)
        return features


class PixelDiscriminator(nn.Module):
    """Pixel discriminator (Isola et al., 2017, section 6.3, the 1x1 "PixelGAN").

    (B, channels, H, W) -> its feature maps, the last of them the prediction, (B, 1, H, W).
    """

    def __init__(self, channels: int, width: int = 64, norm: NormKind = "batch", bias: bool = False) -> None:
        super().__init__()
        self.segments = nn.ModuleList(
            [
                _pixel_block(channels, width, "none", "leaky_relu", True),
                _pixel_block(width, 2 * width, norm, "leaky_relu", bias),
                _pixel_block(2 * width, 1, "none", "none", bias),
            ]
        )

    def forward(self, x: Tensor, context: ForwardContext = PLAIN) -> list[Tensor]:
        features = []
        for block in self.segments:
            x = block(x, context)
            features.append(x)
        return features


def _block(
    channels: int,
    out_channels: int,
    stride: int,
    norm: NormKind,
    activation: Activation,
    padding: tuple[int, PaddingKind],
    bias: bool = True,
    spectral_norm: bool = False,
) -> ConvBlock:
    size, kind = padding
    own = size if kind == "zero" else 0  # the convolution's own zeros cost nothing
    make = SpectralConv2d if spectral_norm else nn.Conv2d
    convolution = make(channels, out_channels, 4, stride=stride, padding=own, bias=bias)
    return ConvBlock(Pad(size - own, kind), convolution, Norm(out_channels, norm, activation), 2, Fraction(1, stride))


def _pixel_block(channels: int, out_channels: int, norm: NormKind, activation: Activation, bias: bool) -> ConvBlock:
    convolution = nn.Conv2d(channels, out_channels, 1, bias=bias)
    return ConvBlock(Pad(0, "zero"), convolution, Norm(out_channels, norm, activation), 0, Fraction(1))


def patch_maps(layers: int, padding: int, height: int, width: int) -> list[tuple[int, int]]:
    """Return (height, width) of each feature map of a `PatchDiscriminator`; those with a side below 1 cannot be."""
    maps = []
    for stride in (*[2] * layers, 1, 1):
        height, width = ((side + 2 * padding - 4) // stride + 1 for side in (height, width))  # kernels are 4x4
        maps.append((height, width))
    return maps


def fits_patches(layers: int, padding: int, norm: NormKind, height: int, width: int, batch_size: int = 1) -> bool:
    """Return True if a `PatchDiscriminator` can be trained on pictures of this size.

    Every feature map has a pixel, and those with a norm have two values at least to normalise: of an image with
    instance norm, of the batch with batch norm.
    """
    maps = patch_maps(layers, padding, height, width)
    values = batch_size if norm == "batch" else 1
    normalised = [] if norm == "none" else maps[1:-1]
    return min(map(min, maps)) >= 1 and all(rows * columns * values > 1 for rows, columns in normalised)


def least_side(layers: int, padding: int, norm: NormKind) -> int:
    """Return the least side of square pictures that a `PatchDiscriminator` can be trained on, one at a time."""
    return next(side for side in itertools.count(1) if fits_patches(layers, padding, norm, side, side))


def multiscale(
    networks: Mapping[str, nn.Module], scales: Sequence[int], x: Tensor, context: ForwardContext = PLAIN
) -> list[list[Tensor]]:
    """Return the feature maps of the discriminators `discriminator<k>` for (B, C, H, W), finest first.

    The finest of `scales` sees the full size, each coarser one half of the next finer.
    """
    features = []
    for scale in range(max(scales), min(scales) - 1, -1):
        if scale in scales:
            features.append(networks[f"discriminator{scale}"](x, context))
        if scale > min(scales):
            x = halve(x)
    return features
