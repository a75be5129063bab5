"""The page that shows styles: for each cluster the training object that is nearest to its centre, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common import pages
from hdtrans.common.classes import ClassTable
from hdtrans.common.files import write_text
from hdtrans.inference.folder.results import to_look_at
from hdtrans.inference.styles.clusters import Clusters, Styles

_MARGIN = 0.1  # around an object, of its longer side
_SIDE = 192  # of a patch, in pixels
_DIMMED = 0.25  # what is left of the contrast beside the object


class Patch:
    """The part of a photo that shows one object; what is beside the object is dimmed.

    Args:
        photo: (H, W, C) as `to_look_at` takes it.
        mask: (H, W) bool, where the object is.
    """

    def __init__(self, photo: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        margin = 1 + int(_MARGIN * max(np.ptp(rows), np.ptp(columns)))
        window = tuple(slice(max(0, int(x[0]) - margin), int(x[-1]) + 1 + margin) for x in (rows, columns))
        seen = to_look_at(photo[window])
        dimmed = (128 + (seen.astype(np.float32) - 128) * _DIMMED).astype(np.uint8)
        self.picture = np.where(mask[window][..., None], seen, dimmed)


def write_page(
    folder: Path,
    name: str,
    styles: Styles,
    classes: ClassTable | None,
    patches: Mapping[int, Sequence[Patch]],
) -> Path:
    """Write `index.html` and its pictures into a folder, and return the page's path.

    Args:
        folder: where they go.
        name: of the run and the checkpoint.
        styles: what is shown.
        classes: their names.
        patches: for each class one for each cluster.
    """
    made = styles.made
    counted = (
        f'<p class="quiet">{made["pictures"]:,} training pictures. Objects count from {made["min_area"]:.2%} of their '
        "picture; of a class that has none so large, all do. Each picture is the object nearest to a cluster's centre, "
        "with what is beside it dimmed; below stand the centre, the spread around it, how many objects are in the "
        "cluster, and how much of all pictures they cover.</p>"
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
    """Return what a class is called."""
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
