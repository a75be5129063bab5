"""Dropout as noise handed in: nothing random is hidden in the module."""

import torch
from torch import Tensor, nn

from hdtrans.common.hashing import GOLDEN_GAMMA
from hdtrans.networks.context import PLAIN, ForwardContext
from hdtrans.networks.parts import Features, locally


class Dropout(nn.Module):
    """Set half of the features to zero and double the others (Srivastava et al., 2014), by the seeds of the context.

    A feature's fate follows from its image's seed, the layer and its place alone. It is the same on every device, in
    every precision, batch and tile.

    Args:
        layer: number that sets apart the dropouts of one network.
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.stream = (layer * _ODD + 2**63) % 2**64 - 2**63  # as int64 wraps around

    def forward(self, x: Features, context: ForwardContext = PLAIN) -> Features:
        """Drop features of (B, C, H, W) by `context.seeds`; without seeds, return `x` unchanged."""
        seeds = context.seeds
        if seeds is None:
            return x
        height, width = x.shape[-2:]

        def drop(x: Tensor, places: Tensor) -> Tensor:
            channels = torch.arange(x.shape[1], device=x.device).view(-1, 1, 1) * (height * width)  # (C, 1, 1)
            streams = _scramble(seeds.to(x.device) + self.stream).view(-1, 1, 1, 1)  # (B, 1, 1, 1)
            kept = _scramble(streams + (channels + places) * _ODD) < 0  # (B, C, h, w)
            return x * (2 * kept.to(x.dtype))

        if isinstance(x, Tensor):
            return drop(x, torch.arange(height * width, device=x.device).view(1, 1, height, width))
        return locally(drop, x, x.places())

    def extra_repr(self) -> str:
        return f"layer {self.layer}"


_ODD = GOLDEN_GAMMA - 2**64  # as int64


def _scramble(x: Tensor) -> Tensor:
    """Mix the 64 bits of int64 numbers: `hdtrans.common.hashing.mix64` on a device."""
    x = (x ^ ((x >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ ((x >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return x ^ ((x >> 31) & (2**33 - 1))
