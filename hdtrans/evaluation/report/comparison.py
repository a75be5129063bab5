"""Comparison page of runs: figures, pictures of the same inputs, curves, differences of the recipes."""

import base64
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common import pages
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import write_text
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.metrics import BETTER
from hdtrans.data import derived
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.data.pairing import natural, pair
from hdtrans.evaluation.report.scores import read_report

_SIDE = 256  # longest side of a picture in pixels
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
_VALIDATION = "validation/"  # prefix of validation figures in metrics.jsonl
_EXPECTED = ("name", "out", "data.root")  # keys that differ in any case

Colours = npt.NDArray[np.uint8]


@dataclass
class Run:
    """A run as read from its folder.

    Attributes:
        name: name on the page.
        recipe: values of the recipe by dotted keys.
        records: lines of metrics.jsonl.
        evaluation: latest report of `hdtrans evaluate`, or empty.
        pictures: result files by the name of the input.
        truth: true pictures by the same names.
    """

    name: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, str] = field(default_factory=dict)


def write_comparison(given: Sequence[Path], out: Path, count: int = 8) -> None:
    """Write one self-contained HTML file.

    Args:
        given: run folders, or reports of `hdtrans evaluate`.
        out: page to write.
        count: rows of pictures, >= 1, spread over the inputs common to all runs.

    Raises:
        UserError: a path is neither, or the page cannot be written.
    """
    if any((page := run / "index.html").exists() and out.exists() and page.samefile(out) for run in given):
        raise UserError("is the page of a run; give another name", argument="out", path=out)
    runs = [_read(path) for path in given]
    names = _names([run.name for run in runs], given)
    for run, name in zip(runs, names, strict=True):
        run.name = name
    sections = [_figures(runs), _pictures(runs, count), *_curves(runs), _recipes(runs)]
    write_text(out, pages.page(f"Comparison of {len(runs)} runs", *(part for part in sections if part)))


def _names(names: Sequence[str], given: Sequence[Path]) -> list[str]:
    """Return unique names of the runs."""
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, given, strict=True)]


def _read(path: Path) -> Run:
    if path.is_file():
        values = read_report(path)
        run = Run(path.parent.name if path.stem == "evaluation" else path.stem, evaluation=values)
        run.pictures, run.truth = _shown(values)
        return run
    if not (path / "recipe.yaml").is_file():
        if (path / "evaluation.json").is_file():
            return _read(path / "evaluation.json")
        raise UserError("neither a run folder (no recipe.yaml) nor a report of hdtrans evaluate", path=path)
    run = Run(path.resolve().name, _flat(read_yaml((path / "recipe.yaml").read_text("utf-8"), str(path))))
    run.records = _records(path / "metrics.jsonl")
    found = sorted((path / "evaluation").glob("*.json"), key=lambda file: (file.stat().st_mtime, file.name))
    if found:
        run.evaluation = read_report(found[-1])
        run.pictures, run.truth = _shown(run.evaluation)
    return run


def _records(file: Path) -> list[dict[str, Any]]:
    """Return the whole lines of metrics.jsonl; a running run may have a half-written last line."""
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _shown(evaluation: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the existing scored and true pictures by name."""
    scored = evaluation["pictures"]
    found: dict[str, dict[str, str]] = {"pictures": {}, "truth": {}}
    folders = {"pictures": scored["folder"], "truth": scored["truth"] if scored["paired"] else None}
    for side, folder in folders.items():
        if folder is not None and Path(folder).is_dir():
            files = sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
            files = [file for file in files if Path(file).suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff")]
            found[side] = {Path(file).stem: file for file in files}
    if found["truth"] and found["pictures"]:
        keys = pair({side: list(files) for side, files in found.items()}).names
        by_key = dict(zip(keys["truth"], found["truth"].values(), strict=True))
        names = dict(zip(keys["pictures"], found["pictures"], strict=True))
        found["truth"] = {names[key]: file for key, file in by_key.items() if key in names}
    return found["pictures"], found["truth"]


def _figures(runs: Sequence[Run]) -> str:
    """Return the table of figures, with the best value of each marked."""
    names = list(dict.fromkeys(name for run in runs for name in run.evaluation.get("figures", {})))
    if not names:
        return pages.section("Figures", '<p class="quiet">No run is evaluated yet; use hdtrans evaluate RUN.</p>')
    rows: list[list[object]] = [["", *(run.name for run in runs)]]
    rows.append(["pictures", *(run.evaluation.get("pictures", {}).get("count", "") for run in runs)])
    for name in names:
        values = [run.evaluation.get("figures", {}).get(name) for run in runs]
        there = [value for value in values if value is not None]
        best = {"lower": min, "higher": max}[BETTER[name]](there) if name in BETTER and len(there) > 1 else None
        cells = ["" if v is None else f"{v:.4f}{' (best)' if v == best else ''}" for v in values]
        better = f" ({BETTER[name]} is better)" if name in BETTER else ""
        rows.append([f"{name}{better}", *cells])
    notes = "".join(f'<p class="quiet">{pages.escape(note)}</p>' for note in _unlike(runs))
    return pages.section("Figures", pages.table(rows), notes)


def _unlike(runs: Sequence[Run]) -> list[str]:
    """Return remarks on figures measured differently, which cannot be compared, and on folders that are gone."""
    evaluated = [run for run in runs if run.evaluation]
    notes = [
        f"{run.name}: not shown, as there is no folder {shown(folder)}"
        for run in evaluated
        for side in ("folder", "truth")
        if (folder := run.evaluation["pictures"].get(side)) and not Path(folder).is_dir()
    ]
    for key in ("count", "sizes", "truth", "split", "resize"):
        values = {json.dumps(run.evaluation["pictures"].get(key)) for run in evaluated}
        if len(values) > 1:
            notes.append(f"measured differently: {key}: {', '.join(sorted(values))}")
    for name in dict.fromkeys(name for run in evaluated for name in run.evaluation["metrics"]):
        protocols = {
            json.dumps({k: v for k, v in run.evaluation["metrics"][name].items() if k != "real_features"})
            for run in evaluated
            if name in run.evaluation["metrics"]
        }
        if len(protocols) > 1:
            notes.append(f"measured differently: the protocol of {name}; its figures cannot be compared")
    return notes


def _pictures(runs: Sequence[Run], count: int) -> str:
    """Return rows of pictures of the same input, the true one last."""
    shown_runs = [run for run in runs if run.pictures]
    if not shown_runs:
        return ""
    common = sorted(set.intersection(*(set(run.pictures) for run in shown_runs)), key=natural)
    if not common:
        return pages.section("Pictures", '<p class="quiet">The runs have no input in common.</p>')
    chosen = [common[place] for place in np.unique(np.linspace(0, len(common) - 1, count).round().astype(int))]
    truth = next((run.truth for run in shown_runs if run.truth), {})
    cards = []
    for name in chosen:
        cells = [(run.name, run.pictures[name], run.evaluation) for run in shown_runs]
        cells += [("truth", truth[name], shown_runs[0].evaluation)] if name in truth else []
        inside = "\n".join(_figure(file, caption, evaluation) for caption, file, evaluation in cells)
        inside = f'<div class="cells" style="--columns: {len(cells)}">\n{inside}\n</div>'
        cards.append(f'<article class="card">\n<h3>{pages.escape(name)}</h3>\n{inside}\n</article>')
    wide = 260 * (len(shown_runs) + bool(truth))
    gallery = f'<div class="gallery" style="--card-width: {wide}px">\n{"".join(cards)}\n</div>'
    return pages.section("Pictures", f'<p class="quiet">{len(chosen)} of {len(common)}</p>', gallery)


def _figure(file: str, caption: str, evaluation: Mapping[str, Any]) -> str:
    """Return a picture as an embedded JPEG."""
    text = f"<figcaption>{pages.escape(caption)}</figcaption>"
    try:
        picture = _visible(file, evaluation["pictures"]["results"])
    except UserError:
        return f'<figure><div class="none">cannot be read</div>{text}</figure>'
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pages.shrink(picture, _SIDE), cv2.COLOR_RGB2BGR), _QUALITY)
    assert done, "the JPEG encoder refused a uint8 picture"
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return f'<figure><img src="{source}" alt="{pages.escape(caption)}" loading="lazy">{text}</figure>'


def _visible(file: str, results: str) -> Colours:
    if results == "labels":
        label = read_label(file)
        return ClassTable.generic(int(label.max()) + 1, None).colourise(label)
    return derived.eight_bit(read_picture(file, 3))


def _curves(runs: Sequence[Run]) -> list[str]:
    """Return a chart of each validation figure and of each loss, with one line per run."""
    charts: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for run in runs:
        for record in run.records:
            for name, value in record.items():
                if "/" in name and not isinstance(value, str):
                    points = charts.setdefault(name, {}).setdefault(run.name, [])
                    points.append((float(record["images"]), math.nan if value is None else float(value)))
    sections = []
    for heading, of_validation in (("Validation during training", True), ("Losses", False)):
        drawn = [
            pages.line_chart(name.removeprefix(_VALIDATION), series, "images")
            for name, series in sorted(charts.items())
            if name.startswith(_VALIDATION) == of_validation
        ]
        cards = "\n".join(drawn)
        sections += [pages.section(heading, f'<div class="cards">\n{cards}\n</div>')] * bool(drawn)
    return sections


def _recipes(runs: Sequence[Run]) -> str:
    """Return the table of keys that differ between the recipes."""
    known = [run for run in runs if run.recipe]
    if len(known) < 2:
        return ""
    rows: list[list[object]] = [["", *(run.name for run in known)]]
    for key in dict.fromkeys(key for run in known for key in run.recipe):
        values = [_plain(run.recipe.get(key, "(none)")) for run in known]
        if key not in _EXPECTED and len(set(values)) > 1:
            rows.append([key, *values])
    if len(rows) == 1:
        return pages.section("Recipes", '<p class="quiet">The recipes do not differ.</p>')
    return pages.section("Recipes", '<p class="quiet">Keys with different values.</p>', pages.table(rows))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted keys; stages go by their names."""
    if isinstance(values, Mapping):
        items = list(values.items())
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        items = [(value.get("name", place), value) for place, value in enumerate(values)]
    else:
        return {prefix: values}
    return {k: v for key, value in items for k, v in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()}
