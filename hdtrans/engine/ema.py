"""A running average of weights (Yazıcı et al., 2019; its length counted in images seen as in Karras et al., 2024)."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

_RAMP = 0.05  # the half-life is at most this share of the images seen, so that early weights are soon forgotten


class Ema:
    """Keeps averages of the networks named, in the type of their weights; buffers are copied.

    Args:
        networks: all networks, bare.
        names: those to average.
        half_life: images after which a weight counts half.
    """

    def __init__(self, networks: nn.ModuleDict, names: Iterable[str], half_life: float) -> None:
        self.half_life = half_life
        self.networks = nn.ModuleDict({name: copy.deepcopy(networks[name]) for name in names})
        self.networks.requires_grad_(False).eval()
        # Each average with what it is of: walking through networks at every step takes milliseconds.
        own = self.networks.items()
        self._weights = {name: _pairs(average.parameters(), networks[name].parameters()) for name, average in own}
        self._buffers = {name: _pairs(average.buffers(), networks[name].buffers()) for name, average in own}

    @torch.no_grad()
    def update(self, names: Iterable[str], images: int, images_seen: int, frozen: Tensor) -> None:
        """Move the averages of `names` towards the weights, after a batch of `images`; where `frozen` is 1, do not."""
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
        """Set the averages of `names` to the weights: what a stage freezes is served as it was trained on."""
        names = [name for name in names if name in self.networks]
        for known in (self._weights, self._buffers):
            averages, values = _apart(known, names)
            if averages:
                torch._foreach_copy_(averages, values)


Pairs = list[tuple[Tensor, Tensor]]


def _pairs(averages: Iterable[Tensor], values: Iterable[Tensor]) -> Pairs:
    return list(zip(averages, values, strict=True))


def _apart(pairs: Mapping[str, Pairs], names: Iterable[str]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the averages, and what they are of."""
    chosen = [pair for name in names for pair in pairs[name]]
    return [average for average, _ in chosen], [value for _, value in chosen]
