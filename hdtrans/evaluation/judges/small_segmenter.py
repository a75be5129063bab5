"""Small U-Net for semantic segmentation, trained in minutes on a CPU."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_MAP = 16
"""Side of a photo, in pixels, for each pixel of the smallest feature map."""

_MEAN, _DEVIATION = 127.5, 64.0


class SegmentationNetwork(nn.Module):
    """U-Net (Ronneberger et al. 2015) with batch norm: (B, 3, H, W) RGB in [0, 255] -> (B, labels, H, W) logits.

    H and W are arbitrary. The finest feature maps have half the size of the photo.

    Args:
        labels: number of classes, >= 1.
        width: channels at half the size, doubled at each of three further halvings.
    """

    def __init__(self, labels: int, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.first = _layers(3, width, stride=2)
        self.down = nn.ModuleList(_layers(a, b, stride=2) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_layers(a + b, a) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(width, labels, 1)

    def forward(self, photos: Tensor) -> Tensor:
        x = self.first((photos.to(self.last.weight.dtype) - _MEAN) / _DEVIATION)
        finer = []
        for layers in self.down:
            finer.append(x)
            x = layers(x)
        for layers in reversed(self.up):
            known = finer.pop()
            x = layers(torch.cat([known, F.interpolate(x, known.shape[2:], mode="nearest")], 1))
        return F.interpolate(self.last(x), photos.shape[2:], mode="bilinear")


def _layers(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Return two 3x3 convolutions; `stride` is that of the first."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
