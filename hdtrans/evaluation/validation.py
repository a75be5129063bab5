"""Metrics during training, for `hdtrans.engine.validation`, which imports none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config.data import Data, PhotosToMaps
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch, as_floats
from hdtrans.data.contents import result_of
from hdtrans.evaluation.judges.segmenters import load_segmenter
from hdtrans.evaluation.judges.weights import WeightFiles
from hdtrans.evaluation.metrics.base import Metric, Settings
from hdtrans.evaluation.metrics.build import build_metrics
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]


class PictureJudge:
    """Measure pictures as they come out of the networks.

    Args:
        data: data of the recipe.
        metrics: metrics to measure.
    """

    def __init__(self, data: Data, metrics: Sequence[Metric]) -> None:
        self.data = data
        self.metrics = metrics

    def measure(self, batch: Batch, picture: Tensor) -> list[Any]:
        """Return the measurement of each metric for one picture, (1, C, H, W) in [-1, 1], made from a batch of one.

        Raises:
            UserError: a metric lacks what it needs, or does not fit the picture.
        """
        item = _item(self.data, batch, picture)
        try:
            return [metric.measure([item])[0] for metric in self.metrics]
        except UserError as error:
            raise UserError(f"validate: {error}") from None

    def figures(self, measured: Sequence[list[Any]]) -> dict[str, float]:
        """Return the figures of all pictures; figures without a value are left out."""
        by_metric = zip(self.metrics, zip(*measured, strict=True), strict=True)
        summaries = [metric.summary(values) for metric, values in by_metric]
        return {name: value for one in summaries for name, value in one.figures.items() if value is not None}


def make_judge(given: Validate, data: Data, classes: ClassTable | None, device: torch.device) -> PictureJudge:
    """Return a judge with the metrics of a completed section.

    Args:
        given: section `validate`.
        data: data of the recipe.
        classes: class table of the label maps, or None.
        device: device of the networks of metrics.

    Raises:
        UserError: the segmenter or weights are missing or cannot be used.
    """
    names = given.metrics or ()
    try:
        segmenter = None
        if given.segmenter is not None:
            segmenter = load_segmenter(given.segmenter, device, given.segmenter_input)
        settings = Settings(device, WeightFiles(given.weights), classes, segmenter, given.protocol, lpips=given.lpips)
        return PictureJudge(data, build_metrics(names, settings))
    except UserError as error:
        raise UserError(f"validate: {error}") from None


def _item(data: Data, batch: Batch, picture: Tensor) -> Item:
    """Return what a metric looks at, as if all were read from files."""
    source = None if batch.source is None else batch.source[0].cpu().numpy().transpose(1, 2, 0)
    label = None if batch.label is None else batch.label[0].cpu().numpy()
    truth = None
    if batch.photo is not None:
        truth = result_of(data, source, as_floats(batch.photo[0], torch.float32))
        if isinstance(data, PhotosToMaps) and data.target == "labels" and data.ignore is not None:
            classless = ~(batch.photo[0] > 0).any(0).cpu().numpy()
            truth = np.where(classless, data.ignore, truth)
    return Item(batch.names[0], result_of(data, source, picture[0]), truth, label)
