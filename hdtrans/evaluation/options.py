"""What `hdtrans evaluate` is asked, and the metrics that follow."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError, nearest
from hdtrans.config.stage import Size
from hdtrans.config.validation import FIGURES, SET_METRICS
from hdtrans.engine.distributed import choose_device
from hdtrans.evaluation.judges.segmenters import INPUTS, load_segmenter
from hdtrans.evaluation.judges.weights import WeightFiles
from hdtrans.evaluation.metrics.folder_metrics import PIXEL_METRICS, BoundaryMetric, LabelMetric, Metric, PixelMetric
from hdtrans.evaluation.metrics.network_metrics import KeptFeatures, lpips_metric, set_distances
from hdtrans.evaluation.metrics.segmentation import PROTOCOLS, SegmentationMetric
from hdtrans.evaluation.metrics.set_distances import RealFeatures, cache_folder
from hdtrans.evaluation.pairs import RESULTS, Places, files_of

METRICS: tuple[str, ...] = tuple(FIGURES)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is measured, and how."""
    add = parser.add_argument
    add("--truth", type=Path, metavar="DIR", help="the true pictures; of a run: unset, those of its test files")
    add("--labels", type=Path, metavar="DIR", help="the label maps that the pictures show (for segmentation)")
    add("--out", type=Path, metavar="FILE.json", help="of figures and protocol; unset: in the run, or the folder")
    add("--metrics", nargs="+", metavar="NAME", help=f"of {', '.join(METRICS)}; unset: all that what is given allows")
    add("--results", choices=RESULTS, help="what the folder holds (pictures); a run knows")
    add("--unpaired", action="store_true", help="pictures and truth belong to nobody: distances between sets alone")
    add("--resize", metavar="WxH", help="scale pictures (bicubic, antialiased) and maps (nearest) before all else")
    add("--tolerance", type=float, default=2.0, metavar="PIXELS", help="of boundaries (2)")
    network = parser.add_argument_group("networks that judge")
    add = network.add_argument
    add(
        "--segmenter",
        type=Path,
        metavar="FILE",
        help="of hdtrans train_segmenter or torchvision, or .onnx; see --trust",
    )
    add("--segmenter-input", choices=tuple(INPUTS), default="imagenet", help="what a network of yours takes (imagenet)")
    add("--trust", action="store_true", help="load TorchScript and torch.export files, which can run code")
    add("--protocol", choices=tuple(PROTOCOLS), default="labels", help="of the segmentation score (labels)")
    add("--weights", type=Path, nargs="+", default=[], metavar="PATH", help="published weights: files or folders")
    add("--download", action="store_true", help="fetch published weights that are missing")
    add("--lpips", choices=("alex", "vgg", "squeeze"), default="alex", help="the network of LPIPS (alex)")
    add("--cache", type=Path, metavar="DIR", help=f"where features of real pictures are kept ({cache_folder()})")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def read_size(text: str | None, option: str = "--resize") -> Size | None:
    """Return the size that an option says; raise UserError where it is none."""
    try:
        return None if text is None else Size.model_validate(text)
    except ValueError:
        raise UserError(f"{option} {text}: write WIDTHxHEIGHT in pixels, for instance 512x256") from None


def make_metrics(given: Any, places: Places, classes: ClassTable | None) -> tuple[Places, list[Metric]]:
    """Return the metrics asked for, or all that are possible, and the places with what these need of sizes.

    Args:
        given: the parsed options of `add_options`.
        places: what is scored.
        classes: of label maps, where known.

    Raises:
        UserError: a metric is unknown, does not fit what is scored, or lacks truth, labels, a network or its weights.
    """
    if not 0 <= given.tolerance < float("inf"):
        raise UserError(f"--tolerance {given.tolerance:g}: is a number of pixels, 0 or more")
    device = choose_device(given.device)
    segmenter = None
    if given.segmenter:
        segmenter = load_segmenter(given.segmenter, device, given.segmenter_input, given.trust)
    weights = WeightFiles(given.weights, given.download)
    names = _chosen(given, places, segmenter is not None)
    _check(names, places)
    found = any(name in names for name in (*PIXEL_METRICS, "lpips"))
    places = replace(places, any_size=not found, label_size=not PROTOCOLS[given.protocol].scale_pictures)
    metrics: list[Metric] = [PixelMetric(name) for name in names if name in PIXEL_METRICS]
    if "labels" in names:
        metrics.append(LabelMetric(_classes(classes, "labels")))
    if "boundaries" in names:
        metrics.append(BoundaryMetric(given.tolerance))
    if "segmentation" in names:
        if segmenter is None:
            raise UserError(
                "segmentation: needs --segmenter FILE: make one with hdtrans train_segmenter, or give yours"
            )
        table = classes or segmenter.classes or (CITYSCAPES if PROTOCOLS[given.protocol].cityscapes else None)
        metrics.append(SegmentationMetric(segmenter, given.protocol, _classes(table, "segmentation")))
    if "lpips" in names:
        metrics.append(lpips_metric(given.lpips, weights, device))
    return places, metrics + set_distances(names, weights, device, _kept_features(given, places))


def _chosen(given: Any, places: Places, has_segmenter: bool) -> tuple[str, ...]:
    """Return the metrics asked for, or those that fit what is there."""
    if given.metrics:
        names = tuple(name for text in given.metrics for name in text.lower().replace("-", "_").split(",") if name)
        for name in names:
            if name not in METRICS:
                raise UserError(f"--metrics {name}: there are {', '.join(METRICS)}.{nearest(name, METRICS)}")
        return tuple(dict.fromkeys(names))
    if places.results != "pictures":
        return (places.results,)
    pixels = PIXEL_METRICS if places.truth is not None and places.paired else ()
    segmentation = ("segmentation",) if has_segmenter and places.labels is not None else ()
    if not pixels and not segmentation:
        needed = (
            f"--metrics, of {', '.join(SET_METRICS)}"
            if places.truth is not None
            else "--truth DIR, or --labels DIR with --segmenter FILE"
        )
        raise UserError(f"there is nothing to measure yet: give {needed}")
    return (*pixels, *segmentation)


def _check(names: Sequence[str], places: Places) -> None:
    """Raise UserError for a metric that does not fit what is scored."""
    for name in names:
        wants = name if name in ("labels", "boundaries") else "pictures"
        if wants != places.results:
            raise UserError(f"--metrics {name}: scores {wants}, but these results are {places.results} (--results)")
        if not places.paired and name not in SET_METRICS:
            raise UserError(f"--metrics {name}: compares pictures with their own truth; with --unpaired there is none")
        if name == "segmentation" and places.labels is None:
            raise UserError("--metrics segmentation: needs the label maps of the pictures: --labels DIR")
        if name not in ("segmentation", "boundaries") and places.truth is None:
            raise UserError(f"--metrics {name}: needs the true pictures: --truth DIR")
        if name == "boundaries" and places.truth is None and places.labels is None:
            raise UserError("--metrics boundaries: needs --truth DIR (pictures white on boundaries) or --labels DIR")


def _classes(classes: ClassTable | None, metric: str) -> ClassTable:
    if classes is None:
        raise UserError(
            f"--metrics {metric}: how many classes are there? Put the dataset.json of hdtrans prepare beside the "
            "folder of label maps"
        )
    return classes


def _kept_features(given: Any, places: Places) -> KeptFeatures:
    """Return what says where the features of real pictures are kept, once the network is known."""
    data = places.data.model_dump() if places.data else ""
    seen = f"{places.resize} {places.channels} {places.route} {data}"
    folder = given.cache or cache_folder()
    return lambda *parts: RealFeatures(folder, _truth_files(places), *parts, seen)


def _truth_files(places: Places) -> list[str]:
    assert places.truth is not None, "checked before"
    return [str(file) for file in files_of("truth", places.truth)]


def folder_places(given: Any) -> tuple[Places, ClassTable | None, dict[str, Any]]:
    """Return what to score of a folder of pictures, the classes of its label maps, and what made it.

    `--out` becomes `evaluation.json` in the folder where it is not set.

    Raises:
        UserError: there is no such folder.
    """
    places = Places(given.target, results=given.results or "pictures", paired=not given.unpaired)
    files_of("found", given.target)
    note = given.target / "inference.json"
    try:
        told = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    except ValueError as error:
        raise UserError(f"{note}: is damaged: {error}") from None
    maps = given.truth if places.results == "labels" else given.labels
    table = maps.resolve().parent / "dataset.json" if maps else None
    given.out = given.out or given.target / "evaluation.json"
    return places, ClassTable.read(table) if table and table.is_file() else None, told
