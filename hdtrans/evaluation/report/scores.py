"""Report of an evaluation: figures and protocol as JSON, figures as a text table."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy
import torch

import hdtrans
from hdtrans.common.errors import UnreadableFile, UserError, shown
from hdtrans.common.files import write_text
from hdtrans.config.metrics import BETTER
from hdtrans.evaluation.metrics.base import Metric
from hdtrans.evaluation.pairs import Place, Places
from hdtrans.evaluation.scoring import Scores

FORMAT = 1
_PATHS = "relative to the folder of this report"
_FOLDERS = ("folder", "truth", "labels")  # keys with paths
_MOST_SHOWN = 10


def report(
    scores: Scores, metrics: Sequence[Metric], places: Places, model: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """Return figures and protocol as plain values.

    Args:
        scores: scores of all pictures.
        metrics: metrics that measured them.
        places: scored folders.
        model: provenance of the pictures, empty if unknown.
        file: file of the report; paths are relative to its folder, so that both can be moved together.
    """
    count = sum(scores.sizes.values())
    folders = places.found, places.truth, places.labels
    checkpoint = {"checkpoint": _relative(model["checkpoint"], file)} if "checkpoint" in model else {}
    return {
        "hdtrans_evaluation": FORMAT,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": scores.summary.figures,
        "pictures": {
            "count": count,
            "sizes": scores.sizes,
            **{key: _folder_text(place, file) for key, place in zip(_FOLDERS, folders, strict=True)},
            "results": places.results,
            "paired": places.paired,
            "split": model.get("split"),
            "resize": None if places.resize is None else {"to": str(places.resize), "pictures": "bicubic, antialiased",
                                                         "maps": "nearest"},
        },
        "model": {**model, **checkpoint},
        "paths": _PATHS,
        "metrics": {metric.name: dict(metric.protocol) for metric in metrics},
        "left_out": {"figures": scores.summary.left_out, "pictures": scores.failed},
        "warnings": scores.summary.warnings,
        "classes": scores.summary.classes,
        "seconds_per_picture": {name: round(seconds, 6) for name, seconds in scores.seconds.items()},
        "versions": {
            "hdtrans": hdtrans.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "scipy": scipy.__version__,
        },
        "each": scores.pictures,
    }  # fmt: skip


def write_report(file: Path, values: Mapping[str, Any]) -> None:
    """Write a report as JSON, whole or not at all; raise UserError if the disk refuses."""
    write_text(file, json.dumps(_finite(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_report(file: Path) -> dict[str, Any]:
    """Read a report, with absolute paths of its folders; raise UserError for another file."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(file, str(error), "a report of hdtrans evaluate") from None
    if not isinstance(values, dict) or values.get("hdtrans_evaluation") != FORMAT:
        raise UserError("not a report of hdtrans evaluate", path=file)
    for key, folder in values["pictures"].items():
        if key in _FOLDERS and folder is not None:
            start = os.path.realpath(file.parent) if values.get("paths") == _PATHS else ""
            path = os.path.abspath(os.path.join(start, folder))
            values["pictures"][key] = path if start or os.path.isdir(path) else folder
    return values


def report_text(values: Mapping[str, Any], file: Path) -> str:
    """Return the figures as a text table."""
    sizes = ", ".join(values["pictures"]["sizes"])
    lines = [f"{values['pictures']['count']} pictures, {sizes}"]
    figures: Mapping[str, float | None] = values["figures"]
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        text = "-" if value is None else f"{value:.4f}"
        better = f"  {BETTER[name]} is better" if name in BETTER else ""
        lines.append(f"  {name:<{width}}  {text:>10}{better}")
    cost = values["seconds_per_picture"].items()
    lines.append(f"milliseconds a picture: {', '.join(f'{name} {1000 * seconds:.1f}' for name, seconds in cost)}")
    lines += [f"left out: {name}: {why}" for name, why in values["left_out"]["figures"].items()]
    failed = values["left_out"]["pictures"]
    lines += [f"not scored: {name}: {why}" for name, why in list(failed.items())[:_MOST_SHOWN]]
    lines += [f"not scored: {len(failed) - _MOST_SHOWN} more"] if len(failed) > _MOST_SHOWN else []
    lines += [f"note: {warning}" for warning in values["warnings"]]
    return "\n".join([*lines, f"written: {shown(file)}"])


def _folder_text(place: Place | None, file: Path) -> str | None:
    if not place:
        return None
    return _relative(place if isinstance(place, Path) else Path(place[0]).parent, file)


def _relative(path: str | Path, file: Path) -> str:
    """Return a path relative to the folder of a file, links resolved."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(file.parent))


def _finite(values: Any) -> Any:
    """Return plain values with None for non-finite numbers."""
    if isinstance(values, Mapping):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not np.isfinite(values) else values
