"""ResNet generator of CycleGAN (Zhu et al., 2017, sections 4 and 7.2; Johnson et al., 2016)."""

import itertools

from torch import Tensor, nn

from hdtrans.networks.blocks import ConvStack, ResidualBlock, Upsampling, down, same, up
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.dropout import Dropout
from hdtrans.networks.norm import NormKind
from hdtrans.networks.parts import Features, locally


class ResNet(nn.Module):
    """Halve the size a few times, refine in residual blocks, double it again.

    (B, channels, H, W) -> (B, out_channels, H, W) in [-1, 1]; H and W must be multiples of 2**downsamples, and at
    least two of them.

    Args:
        channels: condition channels.
        out_channels: image channels.
        width: channels at full size; they double with each halving.
        downsamples: number of halvings.
        blocks: residual blocks at the smallest size; 9 for images of 256x256, 6 for 128x128.
        norm: after all layers but the last. Only with `instance` do they have biases, as in the original.
        dropout: drop features inside the residual blocks, where the context has seeds.
        upsampling: transposed convolutions (the original) or resize-convolutions.
        recompute: keep less for the backward pass and compute it again.
        residual: predict the difference to the first `out_channels` of the condition (Kim et al., "Accurate Image
            Super-Resolution Using Very Deep Convolutional Networks", 2016, section 3.1).
    """

    def __init__(
        self,
        channels: int,
        out_channels: int = 3,
        width: int = 64,
        downsamples: int = 2,
        blocks: int = 9,
        norm: NormKind = "instance",
        dropout: bool = False,
        upsampling: Upsampling = "deconv",
        recompute: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        self.residual = residual
        self.out_channels = out_channels
        widths = [width * 2**level for level in range(downsamples + 1)]
        drops = [Dropout(place) if dropout else None for place in range(blocks)]
        self.segments = ConvStack(
            [
                same(channels, width, 7, norm, "relu", bias),
                *(down(fine, coarse, norm, bias) for fine, coarse in itertools.pairwise(widths)),
                *(ResidualBlock(widths[-1], norm, bias, drop) for drop in drops),
                *(up(2 * fine, fine, norm, upsampling, bias) for fine in reversed(widths[:-1])),
            ],
            recompute,
        )
        self.last = same(width, out_channels, 7, "none", "tanh")

    def forward(self, x: Features, context: ForwardContext = PLAIN) -> Features:
        """Return the image of a condition; the dropout reads `context.seeds`."""
        made = self.last(self.segments(x, context))
        return locally(self._add, x, made) if self.residual else made

    def _add(self, condition: Tensor, made: Tensor) -> Tensor:
        return (condition[:, : self.out_channels] + made).clamp(-1, 1)
