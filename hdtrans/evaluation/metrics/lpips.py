"""LPIPS, the learned perceptual image patch similarity (Zhang et al., 2018), averaged over pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdtrans.evaluation.judges.features import Lpips
from hdtrans.evaluation.metrics.base import Metric, Settings, Summary, stacked
from hdtrans.evaluation.pairs import Item


class LpipsMetric:
    """LPIPS version 0.1, Zhang et al. 2018, eq. 1, mean over pictures; >= 0, lower is better.

    Args:
        network: (B, 3, H, W) uint8 true and found pictures -> (B,) distances.
        provenance: network and weights, for the protocol.
        device: device of the network.
    """

    name, batched = "lpips", True

    def __init__(
        self, network: Lpips | Callable[[Tensor, Tensor], Tensor], provenance: Any, device: torch.device
    ) -> None:
        self._network, self._provenance, self._device = network, provenance, device

    @property
    def protocol(self) -> dict[str, Any]:
        return {"implementation": "hdtrans.evaluation.judges.features.Lpips", "version": "0.1", **self._provenance}

    def measure(self, items: Sequence[Item]) -> list[float]:
        """Return the distance of each picture to its truth."""
        truth, found = (stacked(items, side).to(self._device) for side in ("truth", "found"))
        with torch.inference_mode():
            return [float(value) for value in self._network(truth, found)]

    def summary(self, measured: Sequence[float]) -> Summary:
        """Return the mean."""
        return Summary({self.name: float(np.mean(measured))})


def make(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return LPIPS with the network of the settings; raise UserError if its weights are missing."""
    kind = settings.lpips
    backbone, heads = settings.weights.find(kind), settings.weights.find(f"lpips_{kind}")
    network = Lpips(kind, backbone, heads).to(settings.device)
    provenance = {
        "network": kind,
        "weights": str(backbone.file),
        "sha256": backbone.sha256,
        "heads_sha256": heads.sha256,
    }
    return [LpipsMetric(network, provenance, settings.device)]
