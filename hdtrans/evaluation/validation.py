"""Metrics as what judges pictures during training: see `hdtrans.engine.validation`, which knows none."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.data.kinds.base import PHOTO, DataKind
from hdtrans.evaluation.judges.segmenters import load_segmenter
from hdtrans.evaluation.judges.weights import WeightFiles
from hdtrans.evaluation.metrics.folder_metrics import PIXEL_METRICS, BoundaryMetric, LabelMetric, Metric, PixelMetric
from hdtrans.evaluation.metrics.network_metrics import lpips_metric, set_distances
from hdtrans.evaluation.metrics.segmentation import SegmentationMetric
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]

_TOLERANCE = 2.0  # pixels, of boundaries
_RECIPE_WORDS = {
    "give --trust if you know where it comes from, or export": "no recipe loads these; export",
    "give it with --weights FILE, or put it there as": "give it as validate.weights, or put it there as",
    ", or give --download": "",
    "--segmenter": "validate.segmenter",
    "--weights": "validate.weights",
}
"""What commands call by their options, and a recipe by its keys."""


class PictureJudge:
    """Measures pictures as they come out of the networks.

    Args:
        data: what the model is trained on.
        metrics: what is measured.
    """

    def __init__(self, data: DataKind, metrics: Sequence[Metric]) -> None:
        self.data = data
        self.metrics = metrics

    def measure(self, batch: Batch, picture: Tensor) -> list[Any]:
        """Return what each metric measured of one picture, (1, C, H, W) in [-1, 1], made from a batch of one.

        Raises:
            UserError: a metric lacks what it needs, or does not fit the picture.
        """
        item = _item(self.data, batch, picture)
        try:
            return [metric.measure([item])[0] for metric in self.metrics]
        except UserError as error:
            raise _said_of_the_recipe(error) from None

    def figures(self, measured: Sequence[list[Any]]) -> dict[str, float]:
        """Return the figures of all pictures; one that has no value is left out."""
        by_metric = zip(self.metrics, zip(*measured, strict=True), strict=True)
        summaries = [metric.summary(values) for metric, values in by_metric]
        return {name: value for one in summaries for name, value in one.figures.items() if value is not None}


def make_judge(given: Validate, data: DataKind, classes: ClassTable | None, device: torch.device) -> PictureJudge:
    """Return what measures the metrics of a completed section.

    Args:
        given: the section.
        data: what the model is trained on.
        classes: of its label maps.
        device: where networks judge.

    Raises:
        UserError: the segmenter or weights are not there or cannot be used.
    """
    names = given.metrics or ()
    try:
        weights = WeightFiles(given.weights)
        metrics: list[Metric] = [PixelMetric(name) for name in names if name in PIXEL_METRICS]
        if "boundaries" in names:
            metrics.append(BoundaryMetric(_TOLERANCE))
        if "labels" in names:
            assert classes is not None, "label maps have classes"
            metrics.append(LabelMetric(classes))
        if "segmentation" in names:
            assert classes is not None and given.segmenter is not None, "the recipe was checked"
            segmenter = load_segmenter(given.segmenter, device, given.segmenter_input)
            metrics.append(SegmentationMetric(segmenter, given.protocol, classes))
        if "lpips" in names:
            metrics.append(lpips_metric(given.lpips, weights, device))
        metrics += set_distances(names, weights, device)
    except UserError as error:
        raise _said_of_the_recipe(error) from None
    return PictureJudge(data, metrics)


def _said_of_the_recipe(error: UserError) -> UserError:
    """Return an error with a recipe's keys for a command's options."""
    words = str(error)
    for option, key in _RECIPE_WORDS.items():
        words = words.replace(option, key)
    return UserError(words if words.startswith("validate") else f"validate: {words}")


def _item(data: DataKind, batch: Batch, picture: Tensor) -> Item:
    """Return what a metric looks at, as if all were read from files."""
    given = {
        name: x[0].cpu().numpy() if x.ndim < 4 else x[0].cpu().numpy().transpose(1, 2, 0)
        for name, x in batch.fields.items()
    }
    truth = data.true_result(given, as_floats(batch[PHOTO][0], torch.float32)) if PHOTO in batch.fields else None
    maps = [given[name] for name, spec in data.fields.items() if spec.values == "classes" and name in given]
    return Item(batch.names[0], data.result_of(given, picture[0]), truth, maps[0] if maps else None)
