"""Colour-coded label pictures, by a table of colours."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data.io.header import probe, shown
from hdtrans.data.io.read import read_picture
from hdtrans.prepare.formats.folder import add_folder_options
from hdtrans.prepare.sources.class_list import read_classes
from hdtrans.prepare.sources.paired import paired_items
from hdtrans.prepare.sources.source import Item, Maps

HELP = "label pictures whose colours stand for classes, by a table of colours"

_FAR = 40.0  # levels
_MOST_SHOWN = 5
_AT_ONCE = 1 << 16  # colours compared with the table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    add_folder_options(parser)
    parser.add_argument(
        "--colours", required=True, metavar="FILE", help="one class a line, `R G B name` or `name R G B`; dataset.json"
    )
    parser.add_argument(
        "--match",
        choices=("exact", "nearest", "ignore"),
        default="exact",
        help="colours that are not in the table are an error (exact), become the nearest class, which JPEG label "
        "pictures need, or are ignored (exact)",
    )


def open_source(root: Path, options: argparse.Namespace) -> "PaletteSource":
    """Read the table of colours."""
    table = read_classes(options.colours, "--colours", colours=True)
    return PaletteSource(root, options.label_dir, options.photo_dir, table, options.match)


@dataclass(frozen=True)
class PaletteSource:
    """Label pictures and photos in folders."""

    root: Path
    label: str | None
    photo: str | None
    classes: ClassTable
    match: str

    def items(self) -> list[Item]:
        """Return all items."""
        return paired_items(self.root, {"label": self.label, "photo": self.photo})

    def read(self, item: Item) -> Maps:
        """Turn the colours of a label picture into ids."""
        path = item.detail.check()
        if probe(path).bits > 8:
            raise UserError(f"{shown(path)}: has more than 8 bits; the colours of the table have 8")
        picture = read_picture(path)
        assert picture.dtype == np.uint8
        return match_colours(picture, self.classes, self.match, path)


def match_colours(picture: npt.NDArray[Any], table: ClassTable, match: str, path: Path) -> Maps:
    """Return the class ids of an (H, W, 3) uint8 picture, with a note of the colours that are not in the table.

    Args:
        picture: RGB.
        table: the colours; all of them differ.
        match: what happens to other colours: `exact` is an error, `nearest` takes the class at the smallest Euclidean
            distance in RGB, `ignore` the ignored id.
        path: of the picture, for messages.

    Raises:
        UserError: a colour is not in the table (`exact`), or nothing is ignored (`ignore`).
    """
    if match == "ignore" and table.ignore is None:
        raise UserError("--match ignore: the table of colours has no ignored id")
    codes = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    present, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.array(table.colours, np.int64)
    own = colours @ [1 << 16, 1 << 8, 1]
    order = np.argsort(own)
    at = order[np.searchsorted(own, present, sorter=order).clip(max=len(own) - 1)]
    known = own[at] == present
    if known.all():
        return Maps(_ids(at, places, codes.shape, table))
    unknown = _rgb(present[~known])
    nearest, distance = _nearest(unknown, colours)
    most = np.argsort(-counts[~known], kind="stable")[:_MOST_SHOWN]
    share = counts[~known].sum() / codes.size
    if match == "exact":
        told = ", ".join(f"{tuple(unknown[i].tolist())} near {table.names[nearest[i]]!r}" for i in most)
        lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
        advice = "JPEG changes colours: use --match nearest" if lossy else "add them, or use --match nearest or ignore"
        raise UserError(
            f"{shown(path)}: {unknown.shape[0]} colours ({100 * share:.1f} % of the pixels) are not in the table, most "
            f"of all {told}; {advice}"
        )
    far = counts[~known][distance > _FAR].sum() / codes.size
    at = at.copy()
    at[~known] = nearest if match == "nearest" else len(own)
    note = "has colours that are not in the table"
    if match == "nearest" and far > 0.1:
        worst = tuple(unknown[np.argmax(counts[~known] * (distance > _FAR))].tolist())
        note = f"more than 10 % of the pixels are far from every colour in the table: most of all {worst}"
    return Maps(_ids(at, places, codes.shape, table), notes=(note,))


def _ids(at: npt.NDArray[Any], places: npt.NDArray[Any], shape: tuple[int, ...], table: ClassTable) -> npt.NDArray[Any]:
    numbers = np.array([*range(len(table)), table.ignore or 0], np.int32)
    return np.asarray(numbers[at][places].reshape(shape))


def _rgb(codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.int64)


def _nearest(
    colours: npt.NDArray[np.int64], table: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return for each colour the place of the nearest one in the table, and its distance."""
    places, distances = [], []
    for start in range(0, len(colours), _AT_ONCE):
        part = colours[start : start + _AT_ONCE]
        squares = (part**2).sum(1)[:, None] - 2 * part @ table.T + (table**2).sum(1)
        places.append(squares.argmin(1))
        distances.append(np.sqrt(squares.min(1)))
    return np.concatenate(places), np.concatenate(distances)
