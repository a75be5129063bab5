"""Segmentation score (Wang et al. 2018, sec. 4): a network segments generated pictures; its maps are scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data.geometry import Plan
from hdtrans.data.label_ids import check_label_ids
from hdtrans.evaluation.judges.segmenters import Segmenter
from hdtrans.evaluation.metrics.base import Metric, Settings, Summary, stacked, without_ignored
from hdtrans.evaluation.metrics.labels import CITYSCAPES_19, confusion, known_classes, label_scores
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Protocol:
    """Size and classes of a segmentation score.

    Attributes:
        description: text for reports.
        size: (height, width) of the label maps, resized by nearest neighbour; None keeps their own size.
        scale_pictures: resize pictures to the label map before segmentation.
        cityscapes: score the 19 classes of the Cityscapes benchmark.
    """

    description: str
    size: tuple[int, int] | None = None
    scale_pictures: bool = False
    cityscapes: bool = False


PROTOCOLS: Mapping[str, Protocol] = {
    "labels": Protocol("pictures and label maps as they are, of one size; every class that is not ignored"),
    "cityscapes_512x256": Protocol(
        "label maps brought to 512x256 by nearest neighbours, pictures to 512x256 (bicubic, antialiased); the 19 "
        "classes of the benchmark, the other ids ignored",
        (256, 512),
        True,
        True,
    ),
    "cityscapes_full": Protocol(
        "label maps as they are (2048x1024), pictures brought to their size (bicubic) before the network sees them; "
        "the 19 classes of the benchmark, the other ids ignored",
        None,
        True,
        True,
    ),
}

_SCORES = ("pixel_accuracy", "mean_class_accuracy", "mean_iou")
_TRAIN_IDS = np.full(256, len(CITYSCAPES_19))
_TRAIN_IDS[list(CITYSCAPES_19)] = np.arange(len(CITYSCAPES_19))


class SegmentationMetric:
    """Segmentation of generated pictures, and of real ones for comparison, against the true label maps.

    Args:
        segmenter: segmentation network.
        protocol: key of `PROTOCOLS`.
        classes: class table of the label maps.

    Raises:
        UserError: a Cityscapes protocol with another number of classes.
    """

    name, batched = "segmentation", True

    def __init__(self, segmenter: Segmenter, protocol: str, classes: ClassTable) -> None:
        self._segmenter, self._name, self._protocol = segmenter, protocol, PROTOCOLS[protocol]
        self._given = classes
        self._classes = classes
        if self._protocol.cityscapes and len(classes) != len(CITYSCAPES_19):
            if len(classes) not in (34, 35):
                finding = f"the label maps have {len(classes)} classes; Cityscapes has 34, 35 or 19"
                raise UserError(finding, argument="protocol", value=protocol)
            names, colours = zip(*((CITYSCAPES.names[i], CITYSCAPES.colours[i]) for i in CITYSCAPES_19), strict=True)
            self._classes = ClassTable(names, colours)

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": "hdtrans.evaluation.metrics.labels.label_scores",
            "protocol": self._name,
            "means": self._protocol.description,
            "classes": len(self._classes),
            "ignored": self._given.ignore,
            "network": dict(self._segmenter.provenance),
            "over": "all pixels of all pictures together",
        }

    def measure(self, items: Sequence[Item]) -> list[tuple[Any, Any]]:
        """Return the confusion matrices of each generated and each real picture, None without a real one."""
        labels = [self._truth(item) for item in items]
        sides = []
        for side in ("found", "truth"):
            there = getattr(items[0], side) is not None
            sides.append(self._judge(stacked(items, side), labels) if there else [None] * len(items))
        return list(zip(*sides, strict=True))

    def _truth(self, item: Item) -> Array:
        if item.label is None:
            raise UserError("segmentation: needs the label maps of the pictures")
        check_label_ids(item.label, len(self._given), self._given.ignore, "label map")
        label = without_ignored(item.label, self._given)
        if self._classes is not self._given:
            label = _TRAIN_IDS[np.minimum(label, 255)]
        return Plan(resize=self._protocol.size).map(label) if self._protocol.size else label

    def _judge(self, pictures: Tensor, labels: Sequence[Array]) -> list[Any]:
        """Segment pictures and return their confusion matrices."""
        height, width = labels[0].shape
        if self._protocol.scale_pictures and tuple(pictures.shape[2:]) != (height, width):
            pictures = F.interpolate(pictures, (height, width), mode="bicubic", antialias=True)
        found, count = self._segmenter(pictures, (height, width))
        return [
            confusion(label, self._ids(ids, count), len(self._classes))
            for label, ids in zip(labels, found, strict=True)
        ]

    def _ids(self, found: Tensor, count: int | None) -> Array:
        """Convert found ids to the scored classes."""
        if self._classes is not self._given and (count in (34, 35) or (count is None and int(found.max()) > 18)):
            found = torch.from_numpy(_TRAIN_IDS)[found.clamp(0, 255)]
        elif count is not None and count != len(self._classes):
            finding = f"finds {count} classes, the label maps have {len(self._classes)}"
            raise UserError(finding, argument="segmenter", path=self._segmenter.provenance["file"])
        return found.numpy()

    def summary(self, measured: Sequence[tuple[Any, Any]]) -> Summary:
        """Return the scores of generated and real pictures, and their ratios."""
        summary = Summary()
        for place, side in enumerate(("", "_real")):
            if measured[0][place] is None:
                continue
            counts = np.sum([one[place] for one in measured], axis=0)
            scores = label_scores(counts, self._classes.names)
            summary.figures |= {f"segmentation_{name}{side}": scores[name] for name in _SCORES}
            summary.classes[f"segmentation{side}"] = scores["classes"]
        for name in _SCORES:
            found = summary.figures[f"segmentation_{name}"]
            real = summary.figures.get(f"segmentation_{name}_real")
            if found is not None and real:
                summary.figures[f"segmentation_{name}_ratio"] = found / real
        return summary


def make(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return the segmentation score; raise UserError without a segmenter or a class table."""
    if settings.segmenter is None:
        raise UserError(
            "segmentation: needs a segmenter: a file of hdtrans train_segmenter, weights of torchvision, or ONNX"
        )
    of_protocol = CITYSCAPES if PROTOCOLS[settings.protocol].cityscapes else None
    classes = known_classes(settings.classes or settings.segmenter.classes or of_protocol, names[0])
    return [SegmentationMetric(settings.segmenter, settings.protocol, classes)]
