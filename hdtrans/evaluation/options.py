"""Command-line options of `hdtrans evaluate`, and the metrics that follow from them."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UnknownName, UnreadableFile, UserError
from hdtrans.config.metrics import METRICS, MetricInfo
from hdtrans.engine.distributed import choose_device
from hdtrans.evaluation.judges.segmenters import INPUTS, load_segmenter
from hdtrans.evaluation.judges.weights import WeightFiles
from hdtrans.evaluation.metrics.base import CachedFeatures, Metric, Settings
from hdtrans.evaluation.metrics.build import build_metrics
from hdtrans.evaluation.metrics.segmentation import PROTOCOLS
from hdtrans.evaluation.metrics.set_distances import RealFeatures, cache_folder
from hdtrans.evaluation.pairs import RESULTS, Places, files_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add metrics, inputs, networks and outputs."""
    add = parser.add_argument
    add("--truth", type=Path, metavar="DIR", help="true pictures (default for a run: those of its test files)")
    add("--labels", type=Path, metavar="DIR", help="label maps of the pictures (for segmentation)")
    add("--out", type=Path, metavar="FILE.json", help="report (default: in the run or the folder)")
    add("--metrics", nargs="+", metavar="NAME", help=f"{', '.join(METRICS)} (default: all that the inputs allow)")
    add("--results", choices=RESULTS, help="contents of the folder (default: pictures; a run has its own)")
    add("--unpaired", action="store_true", help="pictures and truth are no pairs: distances between sets alone")
    add("--resize", metavar="WxH", help="resize pictures (bicubic, antialiased) and maps (nearest) first")
    add("--tolerance", type=float, default=2.0, metavar="PIXELS", help="distance within which boundaries agree (2)")
    network = parser.add_argument_group("networks of metrics")
    add = network.add_argument
    add(
        "--segmenter",
        type=Path,
        metavar="FILE",
        help="segmentation network: of hdtrans train_segmenter, torchvision, or .onnx; see --trust",
    )
    add(
        "--segmenter-input",
        choices=tuple(INPUTS),
        default="imagenet",
        help="input normalisation of other networks (imagenet)",
    )
    add("--trust", action="store_true", help="load TorchScript and torch.export files, which can run code")
    add("--protocol", choices=tuple(PROTOCOLS), default="labels", help="protocol of the segmentation score (labels)")
    add("--weights", type=Path, nargs="+", default=[], metavar="PATH", help="files or folders with published weights")
    add("--download", action="store_true", help="fetch missing published weights")
    add("--lpips", choices=("alex", "vgg", "squeeze"), default="alex", help="network of LPIPS (alex)")
    add("--cache", type=Path, metavar="DIR", help=f"cache for features of real pictures ({cache_folder()})")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def make_metrics(given: Any, places: Places, classes: ClassTable | None) -> tuple[Places, list[Metric]]:
    """Return the requested metrics, or all possible ones, and the places with the sizes that they allow.

    Args:
        given: parsed options of `add_options`.
        places: results and truth.
        classes: class table of the label maps, or None.

    Raises:
        UserError: a metric is unknown, does not fit the results, or lacks truth, labels, a network or its weights.
    """
    if not 0 <= given.tolerance < float("inf"):
        raise UserError("give a number of pixels, 0 or more", argument="tolerance", value=given.tolerance)
    device = choose_device(given.device)
    segmenter = None
    if given.segmenter:
        segmenter = load_segmenter(given.segmenter, device, given.segmenter_input, given.trust)
    names = _chosen(given, places, segmenter is not None)
    for name in names:
        _check(METRICS[name], places, segmenter is not None)
    aligned = any(METRICS[name].pairs for name in names)
    places = replace(places, any_size=not aligned, label_size=not PROTOCOLS[given.protocol].scale_pictures)
    weights = WeightFiles(given.weights, given.download)
    cached = _cached_features(given, places)
    settings = Settings(device, weights, classes, segmenter, given.protocol, given.tolerance, given.lpips, cached)
    return places, build_metrics(names, settings)


def _chosen(given: Any, places: Places, has_segmenter: bool) -> tuple[str, ...]:
    """Return the requested metrics, or the defaults that fit the inputs."""
    if given.metrics:
        names = tuple(name for text in given.metrics for name in text.lower().replace("-", "_").split(",") if name)
        for name in names:
            if name not in METRICS:
                raise UnknownName("metric", name, METRICS, argument="metrics", value=name)
        return tuple(dict.fromkeys(names))
    defaults = [info for info in METRICS.values() if info.evaluates and info.scores == places.results]
    if places.results == "pictures":
        defaults = [info for info in defaults if not _lacking(info, places, has_segmenter)]
    if not defaults:
        sets = " ".join(info.name for info in METRICS.values() if info.sets)
        more = [Advice("truth", "DIR"), Advice("labels", "DIR", "with a segmenter")]
        raise UserError(
            "there is nothing to measure yet", advice=more if places.truth is None else [Advice("metrics", sets)]
        )
    return tuple(info.name for info in defaults)


def _check(info: MetricInfo, places: Places, has_segmenter: bool) -> None:
    """Raise UserError for a metric that does not fit the results or lacks what it needs."""
    if info.scores != places.results:
        raise UserError(
            f"scores {info.scores}, but these results are {places.results}",
            argument="metrics",
            value=info.name,
            advice=[Advice("results", info.scores, "if they are")],
        )
    if lacking := _lacking(info, places, has_segmenter):
        finding, advice = lacking
        raise UserError(finding, argument="metrics", value=info.name, advice=advice)


def _lacking(info: MetricInfo, places: Places, has_segmenter: bool) -> tuple[str, list[Advice]] | None:
    """Return what a metric lacks and how to give it; None for nothing."""
    if not places.paired and not info.sets:
        return "compares each picture with its own truth, and unpaired ones have none", [Advice("unpaired", None)]
    truth, labels = places.truth is not None, places.labels is not None
    if "labels" in info.needs and not labels:
        return "needs the label maps of the pictures", [Advice("labels", "DIR")]
    if "truth" in info.needs and not truth:
        return "needs the true pictures", [Advice("truth", "DIR")]
    if "truth or labels" in info.needs and not truth and not labels:
        return "needs true pictures, white on boundaries, or label maps", [
            Advice("truth", "DIR"),
            Advice("labels", "DIR"),
        ]
    if "segmenter" in info.needs and not has_segmenter:
        return "needs a segmentation network, of hdtrans train_segmenter or another", [Advice("segmenter", "FILE")]
    return None


def _cached_features(given: Any, places: Places) -> CachedFeatures:
    """Return the cache of real features, by network, weights and input size."""
    data = places.data.model_dump() if places.data else ""
    seen = f"{places.resize} {places.channels} {places.direction} {data}"
    folder = given.cache or cache_folder()
    return lambda *parts: RealFeatures(folder, _truth_files(places), *parts, seen)


def _truth_files(places: Places) -> list[str]:
    assert places.truth is not None, "checked before"
    return [str(file) for file in files_of("truth", places.truth)]


def folder_places(given: Any) -> tuple[Places, ClassTable | None, dict[str, Any]]:
    """Return the places of a folder of pictures, the classes of its label maps, and the model that made it.

    An unset `--out` becomes `evaluation.json` in the folder.

    Raises:
        UserError: no such folder.
    """
    places = Places(given.target, results=given.results or "pictures", paired=not given.unpaired)
    files_of("found", given.target)
    note = given.target / "inference.json"
    try:
        model = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    except ValueError as error:
        raise UnreadableFile(note, str(error), "JSON", advice=["remove the file"]) from None
    maps = given.truth if places.results == "labels" else given.labels
    table = maps.resolve().parent / "dataset.json" if maps else None
    given.out = given.out or given.target / "evaluation.json"
    return places, ClassTable.read(table) if table and table.is_file() else None, model
