"""Segmentation discriminator: a U-Net that labels every pixel as fake or as one of N classes (Sushko et al., 2021)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.condition import crop, pad_to_stride
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.spectral_norm import SpectralConv2d

FAKE = 0
"""Channel of the logits for a generated pixel; 1 + c is class c. (The paper counts it last.)"""


class Segmenter(nn.Module):
    """U-shaped discriminator: (B, channels, H, W) -> logits (B, 1 + classes, H, W), of any size.

    Residual blocks halve the size, then as many double it again; each of these but the first also reads the output of
    the halving block of its size. All convolutions but the last have spectral norm, none has a norm after it. A size
    that is no multiple of 2^levels is padded by its last row and column, and the rim of the logits is cut off.

    Args:
        channels: channels of a picture.
        classes: N.
        widths: channels after each halving block.
        last: channels after the last doubling block.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int], last: int) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        down = [channels, *widths]
        self.down = nn.ModuleList(_Down(down[n], down[n + 1], first=n == 0) for n in range(len(widths)))
        up = [*reversed(widths[:-1]), last]
        given = [widths[-1], *(2 * width for width in up[:-1])]
        self.up = nn.ModuleList(_Up(a, b) for a, b in zip(given, up, strict=True))
        self.last = nn.Conv2d(last, 1 + classes, 1)

    def forward(self, x: Tensor, context: ForwardContext = PLAIN) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_stride(x, self.stride, least=1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for n, block in enumerate(self.up):
            x = block(x if n == 0 else torch.cat([skips[-1 - n], x], 1))
        return crop(self.last(x), height, width)


class _Down(nn.Module):
    """Residual block that halves the size by the mean of 2x2 pixels; the first one starts without an activation.

    The shortcut's 1x1 convolution follows the mean, with which it commutes.
    """

    def __init__(self, channels: int, out_channels: int, first: bool) -> None:
        super().__init__()
        self.activates = not first
        self.first = SpectralConv2d(channels, out_channels, 3, padding=1)
        self.second = SpectralConv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = SpectralConv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(_active(x) if self.activates else x)
        y = F.avg_pool2d(self.second(_active(y)), 2)  # (B, C', H/2, W/2)
        x = F.avg_pool2d(x, 2)
        made: Tensor = y + (x if self.shortcut is None else self.shortcut(x))
        return made


class _Up(nn.Module):
    """Residual block that doubles the size by nearest neighbour; the shortcut's 1x1 convolution comes before."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = SpectralConv2d(channels, out_channels, 3, padding=1)
        self.second = SpectralConv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = SpectralConv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(_doubled(_active(x)))
        y = self.second(_active(y))  # (B, C', 2H, 2W)
        made: Tensor = y + _doubled(x if self.shortcut is None else self.shortcut(x))
        return made


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)  # not in place, for the shortcut reads x too


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def segmenter_widths(width: int, levels: int) -> tuple[list[int], int]:
    """Return the channels after each halving block and after the last doubling block, as the original's.

    They double every second block up to four times the first: 128, 128, 256, 256, 512, 512, and 64 at the end.
    """
    return [width * min(2 ** (level // 2), 4) for level in range(levels)], max(1, width // 2)
