"""Metrics over a folder: each measures pictures one by one or in batches, and sums up what it measured.

What was measured is plain values and arrays, so processes that share a folder can gather it; the sum does not depend on
who measured what.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hdtrans.common.classes import ClassTable
from hdtrans.data import derived
from hdtrans.data.label_ids import check_label_ids
from hdtrans.evaluation.judges.features import Lpips
from hdtrans.evaluation.metrics import pictures
from hdtrans.evaluation.metrics.labels import boundary_counts, boundary_scores, confusion, label_scores
from hdtrans.evaluation.pairs import Item, rgb_bytes

Figures = dict[str, float | None]


@dataclass
class Summary:
    """Figures by name; what there is to know of each class; warnings; why figures are missing."""

    figures: Figures = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Metric(Protocol):
    """Something that is measured.

    Attributes:
        name: what `--metrics` calls it.
        batched: it pays to measure several pictures of one size at once; else it is measured where files are read.
        protocol: all that a reader of its figures must know.
    """

    @property
    def name(self) -> str: ...

    @property
    def batched(self) -> bool: ...

    @property
    def protocol(self) -> Mapping[str, Any]: ...

    def measure(self, items: Sequence[Item]) -> list[Any]:
        """Return what was measured of each picture."""
        ...

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return the figures of all that was measured."""
        ...


_PIXELS: Mapping[str, tuple[Callable[[Any, Any], float], int, str]] = {
    "l1": (pictures.l1, 1, "mean absolute difference of channels in [0, 1], mean over pictures"),
    "psnr": (pictures.psnr, 1, "10 log10(1 / MSE) in dB of channels in [0, 1], mean over pictures"),
    "ssim": (
        pictures.ssim,
        pictures.SMALLEST_SSIM,
        "Gaussian window 11x11, sigma 1.5, inside the picture, per channel",
    ),
    "ms_ssim": (pictures.ms_ssim, pictures.SMALLEST_MS_SSIM, "five scales, window as ssim, per channel"),
}
PIXEL_METRICS = tuple(_PIXELS)


class PixelMetric:
    """One of the distances of `hdtrans.evaluation.metrics.pictures`, averaged over pictures."""

    batched = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._function, self._smallest, self._told = _PIXELS[name]

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": f"hdtrans.evaluation.metrics.pictures.{self.name}",
            "computes": self._told,
            "in": "float64",
        }

    def measure(self, items: Sequence[Item]) -> list[float | None]:
        """Return a number for each picture; None where it is too small."""
        return [self._measure(item) for item in items]

    def _measure(self, item: Item) -> float | None:
        assert item.truth is not None and item.found is not None
        if min(item.found.shape[:2]) < self._smallest:
            return None
        return self._function(pictures.unit(item.truth), pictures.unit(item.found))

    def summary(self, measured: Sequence[float | None]) -> Summary:
        """Return the mean; pictures that are too small make it meaningless, equal ones have no PSNR."""
        small = sum(value is None for value in measured)
        if small:
            why = f"{small} picture(s) have a side below {self._smallest} pixels"
            return Summary({self.name: None}, left_out={self.name: why})
        values = [value for value in measured if value is not None and np.isfinite(value)]
        equal = len(measured) - len(values)
        warnings = (
            [f"{self.name}: {equal} picture(s) equal the true ones and are left out of the mean"] if equal else []
        )
        return Summary({self.name: float(np.mean(values)) if values else None}, warnings=warnings)


@dataclass(frozen=True)
class LabelMetric:
    """Found label maps against true ones."""

    classes: ClassTable
    name: str = "labels"
    batched: bool = False

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": "hdtrans.evaluation.metrics.labels.label_scores",
            "classes": len(self.classes),
            "ignored": self.classes.ignore,
            "over": "all pixels of all pictures together",
        }

    def measure(self, items: Sequence[Item]) -> list[Any]:
        """Return the confusion matrix of each map."""
        return [self._measure(item) for item in items]

    def _measure(self, item: Item) -> Any:
        assert item.truth is not None and item.found is not None
        check_label_ids(item.truth, len(self.classes), self.classes.ignore, "--truth")
        truth = without_ignored(item.truth, self.classes)
        return confusion(truth, item.found, len(self.classes))

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return the scores of all pixels together."""
        scores = label_scores(sum(measured, np.zeros_like(measured[0])), self.classes.names)
        return Summary({k: v for k, v in scores.items() if k != "classes"}, classes=scores["classes"])


@dataclass(frozen=True)
class BoundaryMetric:
    """Found boundaries against true ones: pictures that are white on them, or the boundaries of label maps."""

    tolerance: float
    name: str = "boundaries"
    batched: bool = False

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": "hdtrans.evaluation.metrics.labels.boundary_scores",
            "tolerance_pixels": self.tolerance,
            "boundary": "pixels above half of white; of label maps, pixels beside another id, on both sides",
            "over": "all pixels of all pictures together",
        }

    def measure(self, items: Sequence[Item]) -> list[Any]:
        """Return the counts of each picture."""
        return [boundary_counts(_lines(item.truth), _lines(item.found), self.tolerance) for item in items]

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return precision, recall and F-measure of all pixels together."""
        scores = boundary_scores(np.sum(measured, axis=0))
        return Summary({f"boundary_{name}": value for name, value in scores.items()})


def _lines(array: Any) -> npt.NDArray[np.bool_]:
    """Return where boundaries are, of a label map or of a picture of them."""
    picture = derived.boundaries(array) if array.ndim == 2 else array
    return np.asarray(pictures.unit(picture)[..., 0] > 0.5, bool)


class LpipsMetric:
    """The learned perceptual distance, averaged over pictures.

    Args:
        network: (B, 3, H, W) uint8 true and found pictures -> (B,).
        told: of its weights, for the protocol.
        device: where it computes.
    """

    name, batched = "lpips", True

    def __init__(self, network: Lpips | Callable[[Tensor, Tensor], Tensor], told: Any, device: torch.device) -> None:
        self._network, self._told, self._device = network, told, device

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {"implementation": "hdtrans.evaluation.judges.features.Lpips", "version": "0.1", **self._told}

    def measure(self, items: Sequence[Item]) -> list[float]:
        """Return the distance of each picture."""
        truth, found = (stacked(items, side).to(self._device) for side in ("truth", "found"))
        with torch.inference_mode():
            return [float(value) for value in self._network(truth, found)]

    def summary(self, measured: Sequence[float]) -> Summary:
        """Return the mean."""
        return Summary({self.name: float(np.mean(measured))})


def stacked(items: Sequence[Item], side: str) -> Tensor:
    """Return the `found` or `truth` of items of one size as (B, 3, H, W) uint8."""
    return torch.from_numpy(np.stack([rgb_bytes(getattr(item, side)) for item in items]))


def without_ignored(label: Any, classes: ClassTable) -> Any:
    """Return a label map whose ignored pixels have an id that is no class."""
    if classes.ignore is None or not 0 <= classes.ignore < len(classes):
        return label
    return np.where(label == classes.ignore, len(classes), label)
