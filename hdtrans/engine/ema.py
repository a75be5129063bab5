"""A running average of weights (Yazıcı et al., 2019; its length counted in images seen as in Karras et al., 2024)."""

import copy
from collections.abc import Iterable

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

    @torch.no_grad()
    def update(
        self, networks: nn.ModuleDict, names: Iterable[str], images: int, images_seen: int, frozen: Tensor
    ) -> None:
        """Move the averages of `names` towards the weights, after a batch of `images`; where `frozen` is 1, do not."""
        half_life = min(self.half_life, max(1.0, _RAMP * images_seen))
        averages, values = self._pairs(networks, names)
        if averages:
            weight = (1 - 0.5 ** (images / half_life)) * (1 - frozen.to(averages[0].dtype))
            torch._foreach_lerp_(averages, values, [weight] * len(averages))
        for average, value in self._buffers(networks, names):
            torch.where(frozen > 0, average, value, out=average)

    @torch.no_grad()
    def reset(self, networks: nn.ModuleDict, names: Iterable[str]) -> None:
        """Set the averages of `names` to the weights: what a stage freezes is served as it was trained on."""
        averages, values = self._pairs(networks, names)
        if averages:
            torch._foreach_copy_(averages, values)
        for average, value in self._buffers(networks, names):
            average.copy_(value)

    def _pairs(self, networks: nn.ModuleDict, names: Iterable[str]) -> tuple[list[Tensor], list[Tensor]]:
        chosen = [name for name in names if name in self.networks]
        averages: list[Tensor] = [p for name in chosen for p in self.networks[name].parameters()]
        return averages, [p.detach() for name in chosen for p in networks[name].parameters()]

    def _buffers(self, networks: nn.ModuleDict, names: Iterable[str]) -> list[tuple[Tensor, Tensor]]:
        chosen = [name for name in names if name in self.networks]
        averages = [b for name in chosen for b in self.networks[name].buffers()]
        return list(zip(averages, (b for name in chosen for b in networks[name].buffers()), strict=True))
