"""Patch discriminators and the pyramid they look at (Wang et al., 2018, section 3.2; Isola et al., 2017)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from torch import Tensor, nn

from hdtrans.networks.blocks import Activation, Norm, NormKind, Pad, Segment
from hdtrans.networks.generators import halve


class PatchDiscriminator(nn.Module):
    """One discriminator of pix2pixHD: (B, channels, H, W) -> its feature maps, the last of them the prediction.

    Args:
        channels: condition and picture together.
        width: channels of the first layer; they double with each layer, up to 512.
        layers: layers with stride 2; one with stride 1 and the prediction follow.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3, norm: NormKind = "instance") -> None:
        super().__init__()
        widths = [min(width * 2**n, 512) for n in range(layers + 1)]
        self.segments = nn.ModuleList([_segment(channels, width, 2, "none", "leaky_relu")])
        for n in range(1, layers + 1):
            self.segments.append(_segment(widths[n - 1], widths[n], 2 if n < layers else 1, norm, "leaky_relu"))
        self.segments.append(_segment(widths[-1], 1, 1, "none", "none"))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for segment in self.segments:
            x = segment(x)
            features.append(x)
        return features


def _segment(channels: int, out_channels: int, stride: int, norm: NormKind, activation: Activation) -> Segment:
    convolution = nn.Conv2d(channels, out_channels, 4, stride=stride, padding=2)
    return Segment(Pad(0, "zero"), convolution, Norm(out_channels, norm, activation), 2, Fraction(1, stride))


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
