"""List of all metrics: name, figures, needs, and the file in `hdtrans/evaluation/metrics/` that computes them.

A new metric is one file there, with a function `make`, and one entry here. This file imports no metric, so that recipes
and help texts can name them without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

Better = Literal["lower", "higher"]
Results = Literal["pictures", "labels", "boundaries"]
Need = Literal["truth", "labels", "truth or labels", "segmenter", "weights"]

_PIXELS: tuple[Need, ...] = ("truth",)
_SETS: tuple[Need, ...] = ("truth", "weights")


@dataclass(frozen=True)
class MetricInfo:
    """Facts of a metric, known without computing it.

    Attributes:
        name: name on the command line and in recipes.
        module: file in `hdtrans/evaluation/metrics/`, without `.py`.
        figures: direction of each figure; the first figure is the most telling one.
        needs: `truth` (true pictures), `labels` (label maps of the pictures), either of them, `segmenter` (a
            segmentation network), `weights` (published weights of a feature network).
        scores: results that it scores: pictures, label maps or pictures of boundaries.
        sets: compares two sets of pictures, which need not be pairs.
        smallest: shortest allowed side in pixels, >= 1.
        validates: part of the default `validate.metrics`, where it fits.
        evaluates: part of the default of `hdtrans evaluate`, where it fits.
    """

    name: str
    module: str
    figures: Mapping[str, Better]
    needs: tuple[Need, ...]
    scores: Results = "pictures"
    sets: bool = False
    smallest: int = 1
    validates: bool = False
    evaluates: bool = False

    @property
    def needs_truth(self) -> bool:
        """True if true pictures, or maps in their place, are needed."""
        return any("truth" in need for need in self.needs)

    @property
    def pairs(self) -> bool:
        """True if each result is compared with its own truth, pixel by pixel."""
        return self.needs_truth and not self.sets


METRICS: Mapping[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("l1", "pictures", {"l1": "lower"}, _PIXELS, validates=True, evaluates=True),
        MetricInfo("psnr", "pictures", {"psnr": "higher"}, _PIXELS, evaluates=True),
        MetricInfo("ssim", "pictures", {"ssim": "higher"}, _PIXELS, smallest=11, validates=True, evaluates=True),
        MetricInfo("ms_ssim", "pictures", {"ms_ssim": "higher"}, _PIXELS, smallest=176, evaluates=True),
        MetricInfo("lpips", "lpips", {"lpips": "lower"}, ("truth", "weights")),
        MetricInfo(
            "segmentation",
            "segmentation",
            {
                "segmentation_mean_iou": "higher",
                "segmentation_pixel_accuracy": "higher",
                "segmentation_mean_class_accuracy": "higher",
            },
            ("labels", "segmenter"),
            validates=True,
            evaluates=True,
        ),
        MetricInfo("fid", "set_distances", {"fid": "lower"}, _SETS, sets=True),
        MetricInfo("kid", "set_distances", {"kid": "lower"}, _SETS, sets=True),
        MetricInfo("squeezenet_distance", "set_distances", {"squeezenet_distance": "lower"}, _SETS, sets=True),
        MetricInfo(
            "labels",
            "labels",
            {"mean_iou": "higher", "pixel_accuracy": "higher", "mean_class_accuracy": "higher"},
            ("truth",),
            scores="labels",
            validates=True,
            evaluates=True,
        ),
        MetricInfo(
            "boundaries",
            "labels",
            {"boundary_f_measure": "higher", "boundary_precision": "higher", "boundary_recall": "higher"},
            ("truth or labels",),
            scores="boundaries",
            validates=True,
            evaluates=True,
        ),
    )
}
"""All metrics by name."""

BETTER: Mapping[str, Better] = {name: better for info in METRICS.values() for name, better in info.figures.items()}
"""Direction of each figure."""

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]


def fitting(results: str, paired: bool, labels: bool) -> tuple[str, ...]:
    """Return the names of the metrics that fit some data, in the order of the list.

    Args:
        results: `pictures`, `labels` or `boundaries`: results of a model of these data.
        paired: True if each result has its own truth.
        labels: True if the data have label maps of the pictures.
    """
    return tuple(
        info.name
        for info in METRICS.values()
        if info.scores == results and (paired or info.sets) and (labels or "labels" not in info.needs)
    )
