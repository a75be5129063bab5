"""Metrics during training, for `hdtrans.engine.validation`, which imports none."""

from collections.abc import Mapping, Sequence
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
from hdtrans.evaluation.metrics.base import Metric, Settings
from hdtrans.evaluation.metrics.build import build_metrics
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]

_KEYS: Mapping[str, str | None] = {
    **{name: f"validate.{name}" for name in ("segmenter", "segmenter_input", "protocol", "weights", "lpips")},
    **dict.fromkeys(("trust", "download")),
}
"""Keys of a recipe by the arguments in messages of metrics; None for arguments without a key."""


class PictureJudge:
    """Measure pictures as they come out of the networks.

    Args:
        data: data of the recipe.
        metrics: metrics to measure.
    """

    def __init__(self, data: DataKind, metrics: Sequence[Metric]) -> None:
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
            raise error.renamed(_KEYS, "validate") from None

    def figures(self, measured: Sequence[list[Any]]) -> dict[str, float]:
        """Return the figures of all pictures; figures without a value are left out."""
        by_metric = zip(self.metrics, zip(*measured, strict=True), strict=True)
        summaries = [metric.summary(values) for metric, values in by_metric]
        return {name: value for one in summaries for name, value in one.figures.items() if value is not None}


def make_judge(given: Validate, data: DataKind, classes: ClassTable | None, device: torch.device) -> PictureJudge:
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
        raise error.renamed(_KEYS, "validate") from None


def _item(data: DataKind, batch: Batch, picture: Tensor) -> Item:
    """Return an item as if its arrays were read from files."""
    given = {
        name: x[0].cpu().numpy() if x.ndim < 4 else x[0].cpu().numpy().transpose(1, 2, 0)
        for name, x in batch.fields.items()
    }
    truth = data.true_result(given, as_floats(batch[PHOTO][0], torch.float32)) if PHOTO in batch.fields else None
    maps = [given[name] for name, spec in data.fields.items() if spec.values == "classes" and name in given]
    return Item(batch.names[0], data.result_of(given, picture[0]), truth, maps[0] if maps else None)
