"""The section `validate`, and the list of metrics."""

from pathlib import Path
from typing import Any, get_args

import pytest

from hdtrans.config.data import Data
from hdtrans.config.metrics import METRICS, MetricName, fitting
from hdtrans.config.validation import Validate
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.data.kinds.unpaired import Section as Unpaired

LABELS = LabelMaps(root=Path("."), labels=5)
PAIRS = PicturePairs(kind="picture_pairs", root=Path("."))
UNPAIRED = Unpaired(kind="unpaired", root=Path("."))
CLASSES = PhotosToMaps(kind="photos_to_maps", root=Path("."), target="labels", labels=5)
LINES = PhotosToMaps(kind="photos_to_maps", root=Path("."), target="label_boundaries")


@pytest.mark.parametrize(
    ("data", "given", "metrics", "best"),
    [
        (LABELS, {}, ("l1", "ssim"), "l1"),
        (LABELS, {"segmenter": "a.pt"}, ("segmentation", "l1", "ssim"), "segmentation_mean_iou"),
        (PAIRS, {"metrics": ["psnr"]}, ("psnr",), "psnr"),
        (UNPAIRED, {"metrics": ["kid", "fid"], "best": "fid"}, ("kid", "fid"), "fid"),
        (CLASSES, {}, ("labels",), "mean_iou"),
        (LINES, {}, ("boundaries",), "boundary_f_measure"),
    ],
)
def test_defaults_follow_from_the_data(data: Data, given: dict[str, Any], metrics: tuple[str, ...], best: str) -> None:
    complete = Validate(**given).complete(data, 512)
    assert (complete.metrics, complete.best) == (metrics, best)
    assert Validate.model_validate(complete.model_dump(mode="json")).complete(data, 512) == complete


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        (
            UNPAIRED,
            {},
            "validate.metrics: no default for data of kind unpaired; give some of fid, kid, squeeze",
        ),
        (UNPAIRED, {"metrics": ["l1"]}, "validate.metrics: l1 does not fit data of kind unpaired; what fits: fid"),
        (LABELS, {"metrics": ["labels"]}, "labels does not fit data of kind label_maps"),
        (PAIRS, {"metrics": ["segmentation"], "segmenter": "a.pt"}, "segmentation does not fit data of kind"),
        (LABELS, {"metrics": ["segmentation"]}, "segmentation and the key segmenter belong together"),
        (LABELS, {"metrics": ["l1"], "segmenter": "a.pt"}, "segmentation and the key segmenter belong together"),
        (LABELS, {"metrics": ["ms_ssim"]}, "ms_ssim needs sides of 176 pixels, and a stage has 128"),
        (LABELS, {"best": "psnr"}, "validate.best: no figure 'psnr'; the figures of these metrics are l1, ssim"),
    ],
)
def test_impossible_settings_are_refused(data: Data, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^validate") as refused:
        Validate(**given).complete(data, 128)
    assert message in str(refused.value)


def test_both_ways_to_be_better() -> None:
    assert Validate().complete(PAIRS, 64).better == "lower"
    assert Validate(best="ssim").complete(PAIRS, 64).better == "higher"
    assert Validate(metrics=("segmentation",), segmenter=Path("a")).complete(LABELS, 64).needs_truth is False
    assert Validate().complete(LABELS, None).needs_truth


def test_allowed_values_are_those_of_the_metrics() -> None:
    from hdtrans.evaluation.judges.segmenters import INPUTS
    from hdtrans.evaluation.metrics.pictures import SMALLEST_MS_SSIM, SMALLEST_SSIM
    from hdtrans.evaluation.metrics.segmentation import PROTOCOLS

    fields = Validate.model_fields
    assert get_args(MetricName) == tuple(METRICS)
    assert get_args(fields["protocol"].annotation) == tuple(PROTOCOLS)
    assert get_args(fields["segmenter_input"].annotation) == tuple(INPUTS)
    for smallest, name in ((SMALLEST_SSIM, "ssim"), (SMALLEST_MS_SSIM, "ms_ssim")):
        given = Validate(metrics=(name,))
        assert given.complete(PAIRS, smallest).metrics == (name,)
        with pytest.raises(ValueError, match=name):
            given.complete(PAIRS, smallest - 1)


def test_metrics_fit_by_results_pairs_and_label_maps() -> None:
    pixels, sets = ("l1", "psnr", "ssim", "ms_ssim", "lpips"), ("fid", "kid", "squeezenet_distance")
    assert fitting("pictures", paired=True, labels=True) == (*pixels, "segmentation", *sets)
    assert fitting("pictures", paired=True, labels=False) == (*pixels, *sets)
    assert fitting("pictures", paired=False, labels=False) == sets
    assert fitting("labels", paired=True, labels=False) == ("labels",)
    assert fitting("boundaries", paired=True, labels=True) == ("boundaries",)
