"""Page of styles: for each cluster its figures and the training object nearest to its centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common import pages
from hdtrans.common.classes import ClassTable
from hdtrans.common.files import write_text
from hdtrans.data.derived import to_rgb
from hdtrans.inference.styles.clusters import Clusters, Styles

_MARGIN = 0.1  # around an object, as a share of its longer side
_SIDE = 192  # side of a patch in pixels
_DIMMED = 0.25  # contrast beside the object


class Patch:
    """The part of a photo that shows one object, dimmed beside it.

    Args:
        photo: (H, W, C), of any type that `to_rgb` takes.
        mask: (H, W) bool, True on the object.
    """

    def __init__(self, photo: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        margin = 1 + int(_MARGIN * max(np.ptp(rows), np.ptp(columns)))
        window = tuple(slice(max(0, int(x[0]) - margin), int(x[-1]) + 1 + margin) for x in (rows, columns))
        seen = to_rgb(photo[window])
        dimmed = (128 + (seen.astype(np.float32) - 128) * _DIMMED).astype(np.uint8)
        self.picture = np.where(mask[window][..., None], seen, dimmed)


def write_page(
    folder: Path,
    name: str,
    styles: Styles,
    classes: ClassTable | None,
    patches: Mapping[int, Sequence[Patch]],
) -> Path:
    """Write `index.html` and its pictures into a folder; return the page's path.

    Args:
        folder: folder of the page.
        name: run and checkpoint, for the title.
        styles: clusters to show.
        classes: names of the classes, or None.
        patches: patches by class id, one per cluster.
    """
    made = styles.made
    counted = (
        f'<p class="quiet">{made["pictures"]:,} training pictures. Objects smaller than {made["min_area"]:.2%} of '
        "their picture are not counted, unless a class has no larger ones. Each picture shows the object nearest to a "
        "cluster's centre, dimmed beside the object. Below it: centre, spread, number of objects, and their share of "
        "all pictures.</p>"
    )
    sections = [
        pages.section(
            f"{class_name(label, classes)} (class {label}): {int(one.counts.sum()):,} objects",
            pages.gallery(_rows(folder, label, one, patches[label], made["pictures"]), [""], card_width=210),
        )
        for label, one in sorted(styles.classes.items())
    ]
    target = folder / "index.html"
    write_text(target, pages.page(f"{name}: styles", counted, *sections))
    return target


def class_name(label: int, classes: ClassTable | None) -> str:
    """Return the name of a class."""
    if classes is not None and label < len(classes):
        return classes.names[label]
    return "everything" if classes is None else "no class"


def _rows(
    folder: Path, label: int, clusters: Clusters, patches: Sequence[Patch], pictures: int
) -> list[pages.GalleryRow]:
    rows = []
    for number, patch in enumerate(patches):
        file = Path("pictures") / f"{label}_{number}.jpg"
        size = pages.write_thumbnail(folder / file, patch.picture, _SIDE)
        note = (
            f"{_numbers(clusters.centres[number])} ± {_numbers(clusters.spreads[number])}; "
            f"{int(clusters.counts[number]):,} objects, {float(clusters.areas[number]) / pictures:.2%}"
        )
        rows.append(pages.GalleryRow(f"cluster {number}", [pages.Picture(file, None, size)], note))
    return rows


def _numbers(values: npt.NDArray[Any]) -> str:
    return " ".join(f"{value:.2f}" for value in values.tolist())
