"""Forward context: statistics, noise and modulation that networks read besides their input.

Every network runs as `network(x, context)`. A default context is a plain forward pass: own statistics, no noise, no
modulation, one process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdtrans.networks.parts import locally

Statistics = tuple[Tensor, Tensor] | Literal["image"]


class Pyramid:
    """Condition at the size of each feature map, by nearest neighbour: output pixel i is input pixel floor(i * r).

    Args:
        finest: (B, C, H, W) at full size.
        sample: returns the condition at 1/r of full size from an integer r; every r-th pixel of `finest` by default.
            One of a method's own need not make the full size first.
    """

    def __init__(self, finest: Any, sample: Callable[[int], Any] | None = None) -> None:
        self.finest = finest
        self._sample = sample or self._every
        self._known: dict[int, Any] = {1: finest}

    def at(self, height: int, width: int) -> Any:
        """Return (B, C, height, width); H and W are multiples of both by one integer r, except of whole tensors."""
        full = self.finest.shape[-2:]
        whole = isinstance(self.finest, Tensor)
        if whole and torch.compiler.is_compiling():  # a graph of any size asks no size anything
            return F.interpolate(self.finest, size=(height, width), mode="nearest")
        ratio = max(1, full[0] // height)
        if (ratio * height, ratio * width) != tuple(full):
            if whole:
                return F.interpolate(self.finest, size=(height, width), mode="nearest")
            raise ValueError(f"a condition of {full[1]}x{full[0]} in tiles is no multiple of {width}x{height}")
        if ratio not in self._known:
            self._known[ratio] = self._sample(ratio)
        return self._known[ratio]

    def _every(self, ratio: int) -> Any:
        return locally(lambda x: x[..., ::ratio, ::ratio], self.finest, scale=Fraction(1, ratio))


def alone(x: Tensor) -> Tensor:
    """Return `x` as it is: the sum over the processes of a run with one."""
    return x


@dataclass(frozen=True, eq=False)
class ForwardContext:
    """Statistics, noise, modulation and sums over processes of a forward pass.

    Attributes:
        statistics: `image` normalises by each image's own statistics, batch norm too; a pair of mean and variance, each
            (B or 1, C, 1, 1), replaces those of a single norm; None leaves each kind its own.
        seeds: (B,) int64, the noise of each image; None makes none.
        condition: (B, C, H, W) at every size, for spatial modulation (SPADE, CLADE).
        style: (B, S), for adaptive norms (AdaIN, AdaLIN).
        total: differentiable sum over all processes, for norms over the whole batch; the identity in one process.
    """

    statistics: Statistics | None = None
    seeds: Tensor | None = None
    condition: Pyramid | None = None
    style: Tensor | None = None
    total: Callable[[Tensor], Tensor] = alone


PLAIN = ForwardContext()
