"""Feature encoder of pix2pixHD (Wang et al., 2018, section 3.4): a photo to a few numbers for each instance."""

import itertools

import torch
from torch import Tensor, nn

from hdtrans.networks.blocks import ConvStack, Upsampling, down, same, up
from hdtrans.networks.condition import crop, pad_to_stride
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.norm import NormKind


class Encoder(nn.Module):
    """Encoder E, photo to features of its size: (B, channels, H, W) -> (B, out_channels, H, W), both in [-1, 1].

    Any H and W will do: the last row and column are repeated inside, and cut off again.

    Args:
        channels: photo channels.
        out_channels: features for each pixel.
        width: channels after the first convolution; they double with each downsampling.
        downsamples: number of halvings, and of doublings after them.
        recompute: keep less for the backward pass and compute it again.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int = 3,
        width: int = 16,
        downsamples: int = 4,
        norm: NormKind = "instance",
        upsampling: Upsampling = "deconv",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.stride = 2**downsamples
        widths = [width * 2**level for level in range(downsamples + 1)]
        self.segments = ConvStack(
            [
                same(channels, width, 7, norm, "relu"),
                *(down(fine, coarse, norm) for fine, coarse in itertools.pairwise(widths)),
                *(up(2 * fine, fine, norm, upsampling) for fine in reversed(widths[:-1])),
            ],
            recompute,
        )
        self.last = same(width, out_channels, 7, "none", "tanh")

    def forward(self, photo: Tensor, context: ForwardContext = PLAIN) -> Tensor:
        height, width = photo.shape[-2:]
        return crop(self.last(self.segments(pad_to_stride(photo, self.stride), context)), height, width)


def pool(features: Tensor, ids: Tensor) -> Tensor:
    """Replace every pixel's features by their mean over its instance, each image for itself (section 3.4).

    Ids are numbered by sorting, and sums are kept in as many rows as there are pixels. So no shape depends on the
    number of ids, and nothing waits for the device. Sums are at least float32.

    Args:
        features: (B, F, H, W).
        ids: (B, H, W) integers of any size.

    Returns:
        (B, F, H, W) in the type of `features`.

    Example: with ids `[[[7, 7, 9]]]`, the features `[[[[1, 3, 5]]]]` become `[[[[2, 2, 5]]]]`.
    """
    x = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))  # (B, F, HW)
    in_order, places = ids.flatten(1).sort(1)
    number_in_order = torch.zeros_like(places)
    number_in_order[:, 1:] = (in_order[:, 1:] != in_order[:, :-1]).cumsum(1)
    number = torch.empty_like(places).scatter_(1, places, number_in_order).unsqueeze(1)  # (B, 1, HW), from 0
    areas = torch.zeros_like(x[:, :1]).scatter_add_(2, number, torch.ones_like(x[:, :1]))
    number = number.expand_as(x)
    sums = torch.zeros_like(x).scatter_add(2, number, x)
    return (sums / areas.clamp(min=1)).gather(2, number).view_as(features).to(features.dtype)
