"""U-Net of pix2pix (Isola et al., 2017, sections 3.2.1 and 6.1.1; Ronneberger et al., 2015)."""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.blocks import ConvBlock
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.dropout import Dropout
from hdtrans.networks.norm import Activation, Norm, NormKind
from hdtrans.networks.padding import Pad
from hdtrans.networks.parts import Features, locally


class UNet(nn.Module):
    """Encoder and decoder with a skip connection at each size.

    (B, channels, H, W) -> (B, out_channels, H, W) in [-1, 1]; H and W must be multiples of 2**downsamples.

    Args:
        channels: condition channels.
        out_channels: image channels.
        width: channels at half the size; they double with each halving, up to 8 times as many.
        downsamples: number of halvings: 8 for images of 256x256 ("U-Net 256"), 7 for 128x128.
        norm: after all layers but the first, the innermost and the last. Only with `instance` do they have biases, as
            in the original.
        dropout: drop features of the innermost layers of full width, where the context has seeds.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int = 3,
        width: int = 64,
        downsamples: int = 8,
        norm: NormKind = "batch",
        dropout: bool = True,
    ) -> None:
        super().__init__()
        bias, last = norm == "instance", downsamples - 1
        widths = [width * 2 ** min(level, 3) for level in range(downsamples)]
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()  # from the innermost outwards
        self.dropouts = nn.ModuleDict()  # keyed by the place in the decoder that they follow
        for level in range(downsamples):
            ends = level in (0, last)
            activation: Activation = "relu" if level == last else "leaky_relu"
            convolution = nn.Conv2d(widths[level - 1] if level else channels, widths[level], 4, 2, 1, bias=bias)
            self.encoder.append(_block(convolution, Norm(widths[level], "none" if ends else norm, activation)))
        for place, level in enumerate(reversed(range(downsamples))):
            seen = widths[level] if level == last else 2 * widths[level]
            made = widths[level - 1] if level else out_channels
            transposed = nn.ConvTranspose2d(seen, made, 4, 2, 1, bias=bias or level == 0)
            finish = Norm(made, norm, "relu") if level else Norm(made, "none", "tanh")
            self.decoder.append(_block(transposed, finish))
            if dropout and 4 <= level < last:
                self.dropouts[str(place)] = Dropout(place)

    def forward(self, x: Features, context: ForwardContext = PLAIN) -> Features:
        """Return the image of a condition; the dropout reads `context.seeds`."""
        kept = []
        for block in self.encoder:
            x = block(x, context)
            kept.append(x)
        for place, block in enumerate(self.decoder):
            if place:
                x = locally(_joined, kept[-1 - place], x)
            x = block(x, context)
            if str(place) in self.dropouts:
                x = self.dropouts[str(place)](x, context)
        return x


def _joined(kept: Tensor, x: Tensor) -> Tensor:
    """Concatenate a skip connection and features, (B, C1 + C2, H, W).

    The skip went through a leaky ReLU; a ReLU after that equals one before it.
    """
    return torch.cat([F.relu(kept), x], 1)


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: Norm) -> ConvBlock:
    scale = Fraction(2) if isinstance(convolution, nn.ConvTranspose2d) else Fraction(1, 2)
    return ConvBlock(Pad(0, "zero"), convolution, norm, 1, scale)
