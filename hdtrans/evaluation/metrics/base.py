"""Interface of metrics over a folder: measure pictures one by one or in batches, then sum up.

Measurements are plain values and arrays, so that several processes can share a folder and gather them. The sum does not
depend on who measured which picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdtrans.common.classes import ClassTable
from hdtrans.evaluation.pairs import Item, rgb_bytes

if TYPE_CHECKING:  # these import metrics themselves
    from hdtrans.evaluation.judges.segmenters import Segmenter
    from hdtrans.evaluation.judges.weights import WeightFiles
    from hdtrans.evaluation.metrics.set_distances import RealFeatures

Figures = dict[str, float | None]
CachedFeatures = Callable[[str, str, str], "RealFeatures"]
"""Network name, SHA-256 of its weights, and its input size -> cached features of the real pictures."""


@dataclass
class Summary:
    """Figures of a metric.

    Attributes:
        figures: value by name; None without a value.
        classes: details of each class.
        warnings: remarks for the reader.
        left_out: reasons for missing figures, by name.
    """

    figures: Figures = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Metric(Protocol):
    """A metric over a folder.

    Attributes:
        name: key of its measurements; several names of the list joined by `+` if it computes them together.
        batched: True if it takes several pictures of one size at once; else it runs where files are read.
        protocol: implementation and settings that a reader needs to compare its figures.
    """

    @property
    def name(self) -> str: ...

    @property
    def batched(self) -> bool: ...

    @property
    def protocol(self) -> Mapping[str, Any]: ...

    def measure(self, items: Sequence[Item]) -> list[Any]:
        """Return one measurement for each item; items of a batch have one size."""
        ...

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return the figures of all measurements."""
        ...


@dataclass(frozen=True)
class Settings:
    """Options from which metrics are made.

    Attributes:
        device: device of the networks.
        weights: source of published weights.
        classes: class table of the label maps, or None.
        segmenter: segmentation network, or None.
        protocol: protocol of the segmentation score, a key of `PROTOCOLS`.
        tolerance: distance in pixels within which boundaries agree, >= 0.
        lpips: network of LPIPS: `alex`, `vgg` or `squeeze`.
        cached: cache of real features; None computes them each time.
    """

    device: torch.device
    weights: "WeightFiles"
    classes: ClassTable | None = None
    segmenter: "Segmenter | None" = None
    protocol: str = "labels"
    tolerance: float = 2.0
    lpips: str = "alex"
    cached: CachedFeatures | None = None


def stacked(items: Sequence[Item], side: str) -> Tensor:
    """Return the `found` or `truth` pictures of items of one size as (B, 3, H, W) uint8."""
    return torch.from_numpy(np.stack([rgb_bytes(getattr(item, side)) for item in items]))


def without_ignored(label: Any, classes: ClassTable) -> Any:
    """Return a label map whose ignored pixels have an id outside the classes."""
    if classes.ignore is None or not 0 <= classes.ignore < len(classes):
        return label
    return np.where(label == classes.ignore, len(classes), label)
