"""Metrics of label maps (pixel accuracy, mean class accuracy, mean IoU) and of boundaries (precision, recall, F).

All follow from counts that are summed over pictures: scores of all pixels together, not means over pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data import derived
from hdtrans.data.label_ids import check_label_ids
from hdtrans.evaluation.metrics.base import Metric, Settings, Summary, without_ignored
from hdtrans.evaluation.metrics.pictures import unit
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

CITYSCAPES_19 = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids that the Cityscapes benchmark evaluates, of 35; pixels with another true id are ignored."""


def confusion(truth: Array, found: Array, labels: int) -> Counts:
    """Return the confusion matrix of two (H, W) id maps: (labels, labels + 1) pixel counts, true class first.

    Pixels with a true id outside [0, labels) are left out; the last column counts found ids outside of it.

    Raises:
        ValueError: the maps differ in size.

    Example: `confusion(np.array([[0, 1, 9]]), np.array([[0, 0, 0]]), 2)` gives `[[1, 0, 0], [1, 0, 0]]`.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; both must have one size")
    counted = (truth >= 0) & (truth < labels)
    true, other = truth[counted].astype(np.int64), found[counted].astype(np.int64)
    other[(other < 0) | (other >= labels)] = labels
    return np.bincount(true * (labels + 1) + other, minlength=labels * (labels + 1)).reshape(labels, labels + 1)


def label_scores(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    """Return the scores of a confusion matrix, in [0, 1], higher is better; None without any pixel.

    With n_ij pixels of true class i found as class j and t_i = sum_j n_ij (Long et al. 2015, sec. 5): pixel accuracy
    sum_i n_ii / sum_i t_i, class accuracy n_ii / t_i, IoU n_ii / (t_i + sum_j n_ji - n_ii) = TP / (TP + FP + FN).
    Means are over the classes with a value; as in the Cityscapes benchmark, a class neither in the truth nor found has
    none, and ignored pixels count for nothing.

    Example: `label_scores(np.array([[1, 1, 0], [0, 2, 0]]), ["a", "b"])["pixel_accuracy"]` gives 0.75.
    """
    hits = np.diag(counts).astype(np.float64)
    true, found = counts.sum(1), counts[:, :-1].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracies, unions = hits / true, hits / (true + found - hits)
    return {
        "pixel_accuracy": _number(hits.sum() / counts.sum()) if counts.sum() else None,
        "mean_class_accuracy": _mean(accuracies),
        "mean_iou": _mean(unions),
        "classes": {
            name: {"accuracy": _number(accuracy), "iou": _number(union), "pixels": int(pixels)}
            for name, accuracy, union, pixels in zip(names, accuracies, unions, true, strict=True)
        },
    }


def boundary_counts(truth: Array, found: Array, tolerance: float) -> Counts:
    """Count boundary pixels near the other map's boundaries, as for the BF score of Csurka et al. 2013.

    Args:
        truth: (H, W), nonzero on true boundaries.
        found: (H, W), nonzero on found boundaries.
        tolerance: Euclidean distance in pixels, >= 0; 0 counts equal positions alone.

    Returns:
        (4,): found pixels near a true one, all found pixels, true pixels near a found one, all true pixels.

    Raises:
        ValueError: the maps differ in size.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; both must have one size")
    true, other = truth != 0, found != 0
    right = np.count_nonzero(other & _near(true, tolerance))
    reached = np.count_nonzero(true & _near(other, tolerance))
    return np.array([right, np.count_nonzero(other), reached, np.count_nonzero(true)], np.int64)


def boundary_scores(counts: Counts) -> dict[str, float | None]:
    """Return precision P, recall R and F = 2PR / (P + R) of summed `boundary_counts`, in [0, 1], higher is better."""
    right, found, reached, true = counts.tolist()
    precision, recall = right / found if found else None, reached / true if true else None
    measure = None
    if precision is not None and recall is not None:
        measure = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f_measure": measure}


def _near(mask: npt.NDArray[np.bool_], tolerance: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the pixels within a distance of the mask."""
    if not mask.any():
        return np.zeros(mask.shape, bool)
    distances = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances <= tolerance + 1e-3, bool)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else None


@dataclass(frozen=True)
class LabelMetric:
    """Scores of found label maps against true ones.

    Attributes:
        classes: class table of both.
    """

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
        check_label_ids(item.truth, len(self.classes), self.classes.ignore, "true label map")
        truth = without_ignored(item.truth, self.classes)
        return confusion(truth, item.found, len(self.classes))

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return the scores of all pixels together."""
        scores = label_scores(sum(measured, np.zeros_like(measured[0])), self.classes.names)
        return Summary({k: v for k, v in scores.items() if k != "classes"}, classes=scores["classes"])


@dataclass(frozen=True)
class BoundaryMetric:
    """Scores of found boundaries against true ones: pictures white on boundaries, or boundaries of label maps.

    Attributes:
        tolerance: distance in pixels within which boundaries agree, >= 0.
    """

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
        """Return the boundary counts of each picture."""
        return [boundary_counts(_lines(item.truth), _lines(item.found), self.tolerance) for item in items]

    def summary(self, measured: Sequence[Any]) -> Summary:
        """Return precision, recall and F-measure of all pixels together."""
        scores = boundary_scores(np.sum(measured, axis=0))
        return Summary({f"boundary_{name}": value for name, value in scores.items()})


def _lines(array: Any) -> npt.NDArray[np.bool_]:
    """Return the boundary mask of a label map, or of a picture of boundaries."""
    picture = derived.boundaries(array) if array.ndim == 2 else array
    return np.asarray(unit(picture)[..., 0] > 0.5, bool)


def known_classes(classes: ClassTable | None, metric: str) -> ClassTable:
    """Return a class table; raise UserError if there is none."""
    if classes is None:
        raise UserError(
            f"{metric}: the number of classes is unknown",
            advice=["put the dataset.json of hdtrans prepare beside the folder of label maps"],
        )
    return classes


def make(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return the metrics of label maps and of boundaries; raise UserError if classes are needed and unknown."""
    found: list[Metric] = []
    for name in names:
        is_labels = name == LabelMetric.name
        found.append(
            LabelMetric(known_classes(settings.classes, name)) if is_labels else BoundaryMetric(settings.tolerance)
        )
    return found
