"""Page of a training run: samples over time, curves and the latest numbers, from plain records."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from hdtrans.common import pages

__all__ = ["VALIDATION", "Record", "Sample", "duration", "is_charted", "is_sound", "run_page"]

Record = dict[str, float | int | str]
"""Measurements at one moment: "images", words such as "stage", and numbers by name."""

VALIDATION = "validation"
"""Prefix of validation figures in a record, as the phase is the prefix of losses."""

_Series = dict[str, list[tuple[float, float]]]

_TITLES = {
    "learning_rate": "Learning rate",
    "images_per_second": "Images per second",
    "data_waiting": "Share of the time waiting for data",
}
_RECENT = 20  # records in the mean of the table


@dataclass(frozen=True)
class Sample:
    """Sample grid on the disk.

    Attributes:
        images: images seen.
        stage: name of the stage.
        path: file `<images>_<stage>.png`, or .jpg.
    """

    images: int
    stage: str
    path: Path

    @property
    def preview(self) -> Path:
        """Path of its smaller copy for the page."""
        return self.path.parent / "thumbnails" / f"{self.path.stem}.jpg"


def is_sound(value: float | int | str) -> bool:
    """Return True for words and finite numbers."""
    return isinstance(value, str) or math.isfinite(value)


def is_charted(name: str) -> bool:
    """Return True for the name of a loss, `phase/name`, or the learning rate."""
    return "/" in name or name == "learning_rate"


def duration(seconds: float) -> str:
    """Return a duration in seconds as text, such as `2 days, 3:04:05`."""
    return str(timedelta(seconds=max(0, round(min(seconds, 1e10)))))


def run_page(
    folder: Path,
    title: str,
    records: Sequence[Record],
    samples: Sequence[Sample],
    images_seen: int,
    total_images: int,
    left_out: Sequence[str] = (),
) -> str:
    """Return the page of a run as HTML.

    Args:
        folder: folder of the page; the samples lie in it or below.
        title: heading.
        records: logged records, oldest first; values may be NaN.
        samples: sample grids, in any order.
        images_seen: images drawn by the whole run so far.
        total_images: images of the whole run at its end.
        left_out: files that are left out, each with its fault.
    """
    share = min(1.0, images_seen / max(1, total_images))
    facts = [
        f"{images_seen:,} of {total_images:,} images ({share:.1%})",
        *_latest_facts(records, images_seen, total_images),
    ]
    facts.append(f"written {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}")
    validation, charts = ("\n".join(charts) for charts in _charts(records))
    return pages.page(
        title,
        f'<progress value="{share:.4f}" max="1">{share:.1%}</progress>',
        f'<p class="quiet">{pages.escape(" · ".join(facts))}</p>',
        *_sample_sections(folder, samples),
        *([pages.section("Validation", f'<div class="cards">\n{validation}\n</div>')] if validation else []),
        *([pages.section("Curves", f'<div class="cards">\n{charts}\n</div>')] if charts else []),
        *([pages.section("Latest numbers", _numbers(records))] if records else []),
        *(
            [pages.section(f"Left out: {len(left_out)}", pages.table([["file"], *([x] for x in left_out)]))]
            * bool(left_out)
        ),
    )


def _latest_facts(records: Sequence[Record], images_seen: int, total_images: int) -> list[str]:
    """Return stage, epoch, speed, time left and best figure, as far as the records hold them."""
    latest = next((record for record in reversed(records) if not _is_validation(record)), {})
    facts = [f"{name} {latest[name]}" for name in ("stage", "epoch") if name in latest]
    speed = latest.get("images_per_second", 0.0)
    if isinstance(speed, float | int) and is_sound(speed) and speed > 0:
        facts.append(f"{speed:.4g} images/s")
        if images_seen < total_images:
            facts.append(f"{duration((total_images - images_seen) / speed)} left")
    if (best := next((record for record in reversed(records) if "best" in record), None)) is not None:
        value = best[f"{VALIDATION}/{best['best']}"]
        facts.append(f"best {best['best']} {value:.4g}, after {best['images']:,} images of stage {best['stage']}")
    return facts


def _is_validation(record: Record) -> bool:
    return any(name.startswith(f"{VALIDATION}/") for name in record)


def _sample_sections(folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Return sections with the newest grid in full width and the older ones smaller, newest first."""
    rows = []
    for sample in sorted(samples, key=lambda sample: (sample.images, sample.path.name), reverse=True):
        preview = sample.preview.relative_to(folder) if sample.preview.exists() else None
        picture = pages.Picture(sample.path.relative_to(folder), preview)
        rows.append(pages.GalleryRow(f"{sample.images:,} images, stage {sample.stage}", [picture]))
    parts = [("Newest samples", rows[:1], 1200), ("Earlier samples", rows[1:], 380)]
    return [
        pages.section(heading, pages.gallery(some, ["samples"], card_width=width))
        for heading, some, width in parts
        if some
    ]


def _charts(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    """Return the charts of validation figures, and those of the phases, learning rate and speed."""
    groups: dict[str, _Series] = {}
    starts: dict[str, float] = {}
    for record in records:
        images = float(record["images"])
        starts.setdefault(str(record.get("stage", "")), images)
        for name, value in record.items():
            if is_charted(name) or name in _TITLES:
                phase, _, loss = name.partition("/")
                # A figure and its value on real pictures, `<figure>_real`, share a chart.
                group = name.removesuffix("_real") if phase == VALIDATION else phase
                series = groups.setdefault(group, {}).setdefault(loss or name.replace("_", " "), [])
                series.append((images, math.nan if isinstance(value, str) else float(value)))
    marks = [(images, stage) for stage, images in starts.items() if stage] if len(starts) > 1 else []
    order = list(_TITLES)
    phases = sorted(groups, key=lambda phase: order.index(phase) if phase in order else -1)
    charts: tuple[list[str], list[str]] = ([], [])
    for phase in phases:
        is_figure = phase.startswith(f"{VALIDATION}/")
        words = _TITLES.get(phase, phase.replace("_", " ").capitalize())
        title = phase.removeprefix(f"{VALIDATION}/") if is_figure else words
        charts[not is_figure].append(pages.line_chart(title, groups[phase], "images", marks=marks))
    return charts


def _numbers(records: Sequence[Record]) -> str:
    """Return a table of the latest value of every number, and its mean over the recent records."""
    recent: dict[str, deque[float | int]] = {}
    for record in records:
        for name, value in record.items():
            if not isinstance(value, str):
                recent.setdefault(name, deque(maxlen=_RECENT)).append(value)
    rows: list[list[object]] = [["", "latest", f"mean of the last {_RECENT}"]]
    for name, values in recent.items():
        averaged = (is_charted(name) or name in _TITLES) and not name.startswith(f"{VALIDATION}/")
        rows.append([name, values[-1], float(np.mean(values)) if averaged else ""])
    return pages.table(rows)
