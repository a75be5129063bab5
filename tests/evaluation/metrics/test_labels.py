"""Scores of label maps and boundaries against known answers and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from hdtrans.common.classes import CITYSCAPES
from hdtrans.evaluation.metrics.labels import CITYSCAPES_19, boundary_counts, boundary_scores, confusion, label_scores


def test_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1, 255]])
    found = np.array([[0, 1, 1, 7, 0]])  # 7 is no class; what is found on the ignored pixel does not count
    counts = confusion(truth, found, 3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    scores = label_scores(counts, ["a", "b", "c"])
    assert scores["pixel_accuracy"] == 0.5
    assert scores["mean_class_accuracy"] == 0.5
    assert scores["mean_iou"] == pytest.approx((1 / 2 + 1 / 3) / 2)  # class c has no pixel and no part in it
    assert scores["classes"]["c"] == {"accuracy": None, "iou": None, "pixels": 0}


def test_a_found_class_outside_the_truth_has_an_iou_of_0() -> None:
    scores = label_scores(confusion(np.array([[0, 0]]), np.array([[0, 1]]), 2), ["a", "b"])
    assert scores["classes"]["b"] == {"accuracy": None, "iou": 0.0, "pixels": 0}
    assert scores["mean_iou"] == 0.25


def test_as_torchmetrics() -> None:
    random = np.random.default_rng(1)
    truth, found = random.integers(0, 6, (40, 50)), random.integers(0, 5, (40, 50))
    truth[truth == 5] = 255
    scores = label_scores(confusion(truth, found, 5), list("abcde"))
    given = (torch.from_numpy(found), torch.from_numpy(truth))
    for name, theirs in {
        "mean_iou": multiclass_jaccard_index(*given, num_classes=5, ignore_index=255),
        "mean_class_accuracy": multiclass_accuracy(*given, num_classes=5, ignore_index=255, average="macro"),
        "pixel_accuracy": multiclass_accuracy(*given, num_classes=5, ignore_index=255, average="micro"),
    }.items():
        assert scores[name] == pytest.approx(theirs.item(), abs=1e-6), name


def test_the_19_classes_of_the_benchmark() -> None:
    names = [CITYSCAPES.names[place] for place in CITYSCAPES_19]
    assert names[:3] == ["road", "sidewalk", "building"]
    assert names[-1] == "bicycle" and len(names) == 19 and "license plate" not in names and "rail" not in names


@pytest.mark.parametrize(("tolerance", "near"), [(0, 1), (1, 2), (2, 3)])
def test_boundaries_by_hand(tolerance: float, near: int) -> None:
    truth, found = np.zeros((1, 12)), np.zeros((1, 12))
    truth[0, 4], found[0, [4, 5, 6, 11]] = 1, 1
    counts = boundary_counts(truth, found, tolerance)
    assert counts.tolist() == [near, 4, 1, 1]
    precision = near / 4
    expected = {"precision": precision, "recall": 1.0, "f_measure": 2 * precision / (precision + 1)}
    assert boundary_scores(counts) == pytest.approx(expected)


def test_distances_are_euclidean() -> None:
    truth, found = np.zeros((5, 5)), np.zeros((5, 5))
    truth[0, 0], found[1, 1] = 1, 1
    assert boundary_counts(truth, found, 1).tolist() == [0, 1, 0, 1]
    assert boundary_counts(truth, found, 1.5).tolist() == [1, 1, 1, 1]


def test_no_boundary_has_no_score() -> None:
    counts = boundary_counts(np.zeros((3, 3)), np.ones((3, 3)), 2)
    assert boundary_scores(counts) == {"precision": 0.0, "recall": None, "f_measure": None}


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="one size"):
        confusion(np.zeros((2, 2)), np.zeros((2, 3)), 2)
    with pytest.raises(ValueError, match="one size"):
        boundary_counts(np.zeros((2, 2)), np.zeros((2, 3)), 2)
