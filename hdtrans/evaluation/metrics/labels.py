"""Scores of label maps: pixel accuracy, mean class accuracy, intersection over union, and boundaries.

They are made of counts, which add up over pictures: scores are those of all pixels together, not means over pictures.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

CITYSCAPES_19 = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The ids, of the 35 of Cityscapes, that its benchmark counts; the others are ignored where they are the truth."""


def confusion(truth: Array, found: Array, labels: int) -> Counts:
    """Count pixels by true and found class: two (H, W) maps of ids -> (labels, labels + 1), truth first.

    Pixels whose true id is no class are left out; the last column counts those whose found id is none.

    Raises:
        ValueError: the maps differ in size.

    Example: `confusion(np.array([[0, 1, 9]]), np.array([[0, 0, 0]]), 2)` gives `[[1, 0, 0], [1, 0, 0]]`.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; they are of one size")
    counted = (truth >= 0) & (truth < labels)
    true, other = truth[counted].astype(np.int64), found[counted].astype(np.int64)
    other[(other < 0) | (other >= labels)] = labels
    return np.bincount(true * (labels + 1) + other, minlength=labels * (labels + 1)).reshape(labels, labels + 1)


def label_scores(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    """Return the scores of a `confusion`, in [0, 1]; None where there is no pixel to judge by.

    Of each class: its accuracy (the share of its pixels that were found) and its intersection over union, TP / (TP +
    FP + FN). The means are over the classes that have either; as in the Cityscapes benchmark, a class that is neither
    in the truth nor found has none, and pixels that are ignored count for nothing.

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
    """Count the pixels of boundaries that lie within `tolerance` pixels (Euclidean) of the other map's boundaries.

    Args:
        truth, found: (H, W), True or not 0 on a boundary.
        tolerance: in pixels; 0 counts equal places alone.

    Returns:
        (4,): found ones that are near a true one, all found ones, true ones that are near a found one, all true ones.

    Raises:
        ValueError: the maps differ in size.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; they are of one size")
    true, other = truth != 0, found != 0
    right = np.count_nonzero(other & _near(true, tolerance))
    reached = np.count_nonzero(true & _near(other, tolerance))
    return np.array([right, np.count_nonzero(other), reached, np.count_nonzero(true)], np.int64)


def boundary_scores(counts: Counts) -> dict[str, float | None]:
    """Return precision, recall and F-measure (their harmonic mean) of summed `boundary_counts`, in [0, 1]."""
    right, found, reached, true = counts.tolist()
    precision, recall = right / found if found else None, reached / true if true else None
    measure = None
    if precision is not None and recall is not None:
        measure = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f_measure": measure}


def _near(mask: npt.NDArray[np.bool_], tolerance: float) -> npt.NDArray[np.bool_]:
    """Return which pixels are within a distance of the mask."""
    if not mask.any():
        return np.zeros(mask.shape, bool)
    distances = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances <= tolerance + 1e-3, bool)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else None
