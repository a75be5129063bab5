"""Exponential moving average of weights (Yazıcı et al., 2019), its half-life in images (Karras et al., 2024)."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

_RAMP = 0.05  # the half-life is at most this share of the images seen, so that early weights are soon forgotten


class Ema:
    """Averages of some networks, in the type of their weights; buffers are copied.

    Args:
        networks: all networks, bare.
        names: networks to average.
        half_life: images after which the share of a weight has halved, > 0.
    """

    def __init__(self, networks: nn.ModuleDict, names: Iterable[str], half_life: float) -> None:
        self.half_life = half_life
        self.networks = nn.ModuleDict({name: copy.deepcopy(networks[name]) for name in names})
        self.networks.requires_grad_(False).eval()
        # Pairs of average and weight, listed once: walking through networks at every step takes milliseconds.
        own = self.networks.items()
        self._weights = {name: _pairs(average.parameters(), networks[name].parameters()) for name, average in own}
        self._buffers = {name: _pairs(average.buffers(), networks[name].buffers()) for name, average in own}

    @torch.no_grad()
    def update(self, names: Iterable[str], images: int, images_seen: int, frozen: Tensor) -> None:
        """Move averages towards the weights: average += (1 - 0.5^(images / half_life)) (weight - average).

        Args:
            names: networks that the step trained.
            images: images of the step, over all processes.
            images_seen: images drawn by the whole run; the half-life is at most 5 % of them.
            frozen: flag on the device, 0 or 1; at 1 the averages stay as they are.
        """
        half_life = min(self.half_life, max(1.0, _RAMP * images_seen))
        names = [name for name in names if name in self.networks]
        averages, values = _apart(self._weights, names)
        if averages:
            weight = (1 - 0.5 ** (images / half_life)) * (1 - frozen.to(averages[0].dtype))
            torch._foreach_lerp_(averages, values, [weight] * len(averages))
        for average, value in zip(*_apart(self._buffers, names), strict=True):
            torch.where(frozen > 0, average, value, out=average)

    @torch.no_grad()
    def reset(self, names: Iterable[str]) -> None:
        """Set the averages of `names` to the weights: a stage trains on the weights of networks that it freezes."""
        names = [name for name in names if name in self.networks]
        for known in (self._weights, self._buffers):
            averages, values = _apart(known, names)
            if averages:
                torch._foreach_copy_(averages, values)


Pairs = list[tuple[Tensor, Tensor]]


def _pairs(averages: Iterable[Tensor], values: Iterable[Tensor]) -> Pairs:
    return list(zip(averages, values, strict=True))


def _apart(pairs: Mapping[str, Pairs], names: Iterable[str]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the averages, and the tensors that they follow."""
    chosen = [pair for name in names for pair in pairs[name]]
    return [average for average, _ in chosen], [value for _, value in chosen]
