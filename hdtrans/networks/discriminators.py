"""Patch discriminators and the pyramid they look at (Wang et al., 2018, section 3.2; Isola et al., 2017)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from torch import Tensor, nn

from hdtrans.networks.blocks import Activation, Norm, NormKind, Pad, Segment
from hdtrans.networks.generators import halve


class PatchDiscriminator(nn.Module):
    """A discriminator that judges patches: (B, channels, H, W) -> its feature maps, the last of them the prediction.

    With the defaults, one of pix2pixHD's. pix2pix and CycleGAN pad by 1, widen up to 8 times `width`, and have no bias
    before a norm other than `instance`; with 3 layers a patch is 70x70.

    Args:
        channels: condition and picture together.
        width: channels of the first layer; they double with each layer, up to `widest`.
        layers: layers with stride 2; one with stride 1 and the prediction follow.
        norm: of the layers between the first and the prediction.
        padding: zeros around what each layer sees.
        widest: the most channels.
        bias: whether layers with a norm have a bias.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        layers: int = 3,
        norm: NormKind = "instance",
        padding: int = 2,
        widest: int = 512,
        bias: bool = True,
    ) -> None:
        super().__init__()
        widths = [min(width * 2**n, widest) for n in range(layers + 1)]
        self.segments = nn.ModuleList([_segment(channels, width, 2, "none", "leaky_relu", padding)])
        for n in range(1, layers + 1):
            stride = 2 if n < layers else 1
            self.segments.append(_segment(widths[n - 1], widths[n], stride, norm, "leaky_relu", padding, bias))
        self.segments.append(_segment(widths[-1], 1, 1, "none", "none", padding))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for segment in self.segments:
            x = segment(x)
            features.append(x)
        return features


class PixelDiscriminator(nn.Module):
    """A discriminator that judges every pixel for itself (Isola et al., 2017, section 6.3, the 1x1 "PixelGAN").

    (B, channels, H, W) -> its feature maps, the last of them the prediction, (B, 1, H, W).
    """

    def __init__(self, channels: int, width: int = 64, norm: NormKind = "batch", bias: bool = False) -> None:
        super().__init__()
        self.segments = nn.ModuleList(
            [
                _pixel_segment(channels, width, "none", "leaky_relu", True),
                _pixel_segment(width, 2 * width, norm, "leaky_relu", bias),
                _pixel_segment(2 * width, 1, "none", "none", bias),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for segment in self.segments:
            x = segment(x)
            features.append(x)
        return features


def _segment(
    channels: int,
    out_channels: int,
    stride: int,
    norm: NormKind,
    activation: Activation,
    padding: int,
    bias: bool = True,
) -> Segment:
    convolution = nn.Conv2d(channels, out_channels, 4, stride=stride, padding=padding, bias=bias)
    return Segment(Pad(0, "zero"), convolution, Norm(out_channels, norm, activation), 2, Fraction(1, stride))


def _pixel_segment(channels: int, out_channels: int, norm: NormKind, activation: Activation, bias: bool) -> Segment:
    convolution = nn.Conv2d(channels, out_channels, 1, bias=bias)
    return Segment(Pad(0, "zero"), convolution, Norm(out_channels, norm, activation), 0, Fraction(1))


def multiscale(networks: Mapping[str, nn.Module], scales: Sequence[int], x: Tensor) -> list[list[Tensor]]:
    """Let the discriminators `scale<k>` look at (B, C, H, W), each at its size; return their feature maps.

    The finest of `scales` sees the full size, each coarser one half of the next finer.
    """
    features = []
    for scale in range(max(scales), min(scales) - 1, -1):
        if scale in scales:
            features.append(networks[f"scale{scale}"](x))
        if scale > min(scales):
            x = halve(x)
    return features
