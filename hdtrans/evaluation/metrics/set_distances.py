"""FID, KID and a SqueezeNet distance between folders, with a cache for the features of real pictures."""

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import write_bytes
from hdtrans.data.io.read import load
from hdtrans.evaluation.judges.features import InceptionFeatures, SqueezeNetFeatures
from hdtrans.evaluation.judges.weights import content_key
from hdtrans.evaluation.metrics.base import Metric, Settings, Summary, stacked
from hdtrans.evaluation.metrics.distributions import SUBSETS, frechet_distance, kernel_distance
from hdtrans.evaluation.pairs import Item

Features = npt.NDArray[np.float32]

FEWEST = 2048
"""Number of pictures below which a Fréchet distance depends more on their number than on their content."""


def cache_folder() -> Path:
    """Return the default folder of cached features."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hdtrans"


class RealFeatures:
    """Cached features of a set of real pictures, in a file named by a hash of everything they depend on.

    Args:
        folder: folder of the cache.
        files: paths of the pictures.
        parts: other dependencies: network, weights, sizes.
    """

    def __init__(self, folder: Path, files: Sequence[str], *parts: str) -> None:
        digests = sorted(hashlib.sha256(load(path)[0]).hexdigest() for path in files)
        self.count = len(files)
        self.file = folder / f"features_{content_key(*parts, *digests)}.npy"

    def read(self, width: int) -> Features | None:
        """Return (N, width) features, or None if the file is missing or damaged."""
        if not self.file.is_file():
            return None
        try:
            features = np.load(self.file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return features if features.shape == (self.count, width) and features.dtype == np.float32 else None

    def write(self, features: Features) -> None:
        """Write the features; a full or read-only disk is ignored."""
        file = io.BytesIO()
        np.save(file, features)
        try:
            write_bytes(self.file, file.getvalue())
        except UserError:
            return


class SetDistance:
    """Distances between the features of real and found pictures, computed with one network.

    Args:
        figures: names of figures: `fid` and `kid`, or `squeezenet_distance`.
        extractor: (B, 3, H, W) uint8 -> (B, D) features.
        width: D.
        provenance: network and weights, for the protocol.
        device: device of the network.
        real: cache of the real features, or None.
    """

    batched = True

    def __init__(
        self,
        figures: Sequence[str],
        extractor: Callable[[Tensor], Tensor],
        width: int,
        provenance: Mapping[str, Any],
        device: torch.device,
        real: RealFeatures | None = None,
    ) -> None:
        self.name = "+".join(figures)
        self._figures, self._extractor, self._width, self._provenance = figures, extractor, width, provenance
        self._device, self._real = device, real
        self._known = real.read(width) if real else None

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": "hdtrans.evaluation.metrics.distributions",
            "in": "float64",
            "real_features": "kept from an earlier run" if self._known is not None else "computed",
            **self._provenance,
        }

    def measure(self, items: Sequence[Item]) -> list[tuple[Features | None, Features | None]]:
        """Return (real, found) features of each item; None for a missing or cached picture."""
        real = None if self._known is not None else self._features(items, "truth")
        found = self._features(items, "found")
        none = [None] * len(items)
        return list(zip(real if real is not None else none, found if found is not None else none, strict=True))

    def _features(self, items: Sequence[Item], side: str) -> Features | None:
        if getattr(items[0], side) is None:
            return None
        with torch.inference_mode():
            features = self._extractor(stacked(items, side).to(self._device)).float().cpu().numpy()
        assert features.shape[1] == self._width
        return np.asarray(features, np.float32)

    def summary(self, measured: Sequence[tuple[Features | None, Features | None]]) -> Summary:
        """Return the distances between the two sets."""
        found = np.array([one for _, one in measured if one is not None])
        if self._known is not None:
            real = self._known
        else:
            real = np.array([one for one, _ in measured if one is not None])
            if self._real is not None and len(real) == self._real.count:
                self._real.write(real)
        summary = Summary()
        fewest = min(len(real), len(found))
        if fewest < 4:
            summary.left_out = dict.fromkeys(self._figures, f"{fewest} picture(s) are too few: 4 are needed")
            summary.figures = dict.fromkeys(self._figures)
            return summary
        for name in self._figures:
            if name == "kid":
                kernel = kernel_distance(real, found)
                summary.figures |= {"kid": kernel.mean, "kid_deviation": kernel.deviation}
                summary.warnings.append(f"kid: mean and deviation over {SUBSETS} subsets of {kernel.subset_size}")
            else:
                summary.figures[name] = frechet_distance(real, found)
                if fewest < FEWEST:
                    summary.warnings.append(
                        f"{name}: {fewest} pictures are fewer than {FEWEST}: compare it with figures of as many alone"
                    )
        return summary


def make(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return one metric for each network that the names need; raise UserError if its weights are missing."""
    metrics: list[Metric] = []
    for network_name, figures in (("inception", ("fid", "kid")), ("squeezenet1_0", ("squeezenet_distance",))):
        wanted = [name for name in figures if name in names]
        if not wanted:
            continue
        weights = settings.weights.find(network_name)
        network = InceptionFeatures(weights) if network_name == "inception" else SqueezeNetFeatures(weights)
        provenance = {
            "network": network_name,
            "weights": shown(weights.file),
            "sha256": weights.sha256,
            "pictures": network.how,
        }
        real = None if settings.cached is None else settings.cached(network_name, weights.sha256, network.how)
        extractor = network.to(settings.device)
        metrics.append(SetDistance(wanted, extractor, network.width, provenance, settings.device, real))
    return metrics
