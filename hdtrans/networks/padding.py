"""Padding: the only place where an image is padded beyond what a convolution pads with zeros."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.kernels.fused import suits
from hdtrans.networks.kernels.fused_pad import fused_reflection_pad

PaddingKind = Literal["reflect", "zero", "replicate"]


class Pad(nn.Module):
    """Pad (B, C, H, W) by `size` pixels on every side: by reflection, with zeros, or by repeating the edge.

    The gradient of torch's own reflection and replication adds atomically, in any order, on CUDA. With deterministic
    algorithms both are put together from slices instead, whose gradient does not.
    """

    def __init__(self, size: int, kind: PaddingKind) -> None:
        super().__init__()
        self.size = size
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.size == 0:
            return x
        if self.kind == "zero":
            return F.pad(x, (self.size,) * 4)
        if self.kind == "reflect" and suits(x):
            return fused_reflection_pad(x, self.size)
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return self._from_slices(self._from_slices(x, -1), -2)
        return F.pad(x, (self.size,) * 4, mode=self.kind)

    def _from_slices(self, x: Tensor, dim: int) -> Tensor:
        length = x.shape[dim]
        if self.kind == "replicate":
            before, after = (torch.cat([x.narrow(dim, at, 1)] * self.size, dim) for at in (0, length - 1))
        else:
            before = x.narrow(dim, 1, self.size).flip(dim)
            after = x.narrow(dim, length - 1 - self.size, self.size).flip(dim)
        return torch.cat([before, x, after], dim)

    def extra_repr(self) -> str:
        return f"{self.size}, {self.kind}"
