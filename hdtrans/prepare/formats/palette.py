"""Colour-coded label maps with a colour table."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.header import probe
from hdtrans.data.io.read import read_picture
from hdtrans.prepare.formats.folder import add_folder_options
from hdtrans.prepare.sources.class_list import read_classes
from hdtrans.prepare.sources.paired import paired_folders, paired_items
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import pack_rgb, unpack_rgb

HELP = "colour-coded label maps with a colour table"

_FAR = 40.0  # Euclidean distance in RGB, 8-bit levels
_MOST_SHOWN = 5
_CHUNK = 1 << 16  # colours compared with the table at once


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    add_folder_options(parser)
    parser.add_argument(
        "--colours",
        required=True,
        metavar="FILE",
        help="colour table: one class per line, `R G B name` or `name R G B`, or a dataset.json",
    )
    parser.add_argument(
        "--match",
        choices=("exact", "nearest", "ignore"),
        default="exact",
        help="colours outside the table: error (exact), nearest class (nearest, needed for JPEG label maps), or "
        "ignored pixels (ignore) (default: exact)",
    )


def searched(root: Path, options: argparse.Namespace) -> list[Path]:
    """Return the folders that are searched."""
    return paired_folders(root, {"label": options.label_dir, "photo": options.photo_dir})


def open_source(root: Path, options: argparse.Namespace) -> "PaletteSource":
    """Read the colour table."""
    table = read_classes(options.colours, "colours", colours=True)
    return PaletteSource(root, options.label_dir, options.photo_dir, table, options.match)


@dataclass(frozen=True)
class PaletteSource:
    """Colour-coded label maps and photos in folders below `root`."""

    root: Path
    label: str | None
    photo: str | None
    classes: ClassTable
    match: str

    def items(self) -> list[Item]:
        """Return all items."""
        return paired_items(self.root, {"label": self.label, "photo": self.photo})

    def read(self, item: Item) -> Maps:
        """Convert the colours of a label map to class ids."""
        path = item.detail.check()
        if (bits := probe(path).bits) > 8:
            raise UserError(f"has {bits} bits per channel; colour-coded label maps must have 8", path=path)
        picture = read_picture(path)
        assert picture.dtype == np.uint8
        return match_colours(picture, self.classes, self.match, path)


def match_colours(picture: npt.NDArray[Any], table: ClassTable, match: str, path: Path) -> Maps:
    """Convert an (H, W, 3) uint8 RGB picture to class ids, with a note about colours outside the table.

    Args:
        picture: (H, W, 3) uint8, RGB.
        table: class table whose colours all differ.
        match: treatment of other colours: `exact` raises, `nearest` takes the class at the smallest Euclidean
            distance in RGB, `ignore` the ignored id.
        path: file of the picture, for messages.

    Raises:
        UserError: a colour is not in the table (`exact`), or the table has no ignored id (`ignore`).
    """
    if match == "ignore" and table.ignore is None:
        raise UserError("the colour table has no ignored id; use exact or nearest", argument="match", value="ignore")
    codes = pack_rgb(picture)
    present, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.array(table.colours, np.int64)
    own = pack_rgb(colours)
    order = np.argsort(own)
    classes = order[np.searchsorted(own, present, sorter=order).clip(max=len(own) - 1)]
    known = own[classes] == present
    if known.all():
        return Maps(_ids(classes, inverse, codes.shape, table))
    unknown = unpack_rgb(present[~known]).astype(np.int64)
    nearest, distance = _nearest(unknown, colours)
    most = np.argsort(-counts[~known], kind="stable")[:_MOST_SHOWN]
    share = counts[~known].sum() / codes.size
    if match == "exact":
        listed = ", ".join(f"{tuple(unknown[i].tolist())} near {table.names[nearest[i]]!r}" for i in most)
        lossy = probe(path).format in ("JPEG", "WEBP")
        near = Advice("match", "nearest", "since JPEG changes colours" if lossy else "")
        raise UserError(
            f"{unknown.shape[0]} colour(s) ({100 * share:.1f} % of the pixels) are not in the table, most frequent "
            f"{listed}",
            path=path,
            advice=[near] if lossy else ["add them", near, Advice("match", "ignore")],
        )
    far = counts[~known][distance > _FAR].sum() / codes.size
    classes = classes.copy()
    classes[~known] = nearest if match == "nearest" else len(own)
    note = "has colours outside the table"
    if match == "nearest" and far > 0.1:
        worst = tuple(unknown[np.argmax(counts[~known] * (distance > _FAR))].tolist())
        note = f"more than 10 % of the pixels are far from every colour in the table: most frequent {worst}"
    return Maps(_ids(classes, inverse, codes.shape, table), notes=(note,))


def _ids(
    classes: npt.NDArray[Any], inverse: npt.NDArray[Any], shape: tuple[int, ...], table: ClassTable
) -> npt.NDArray[Any]:
    """Expand the class index of each distinct colour to (H, W) ids; index len(table) is the ignored id."""
    numbers = np.array([*range(len(table)), table.ignore or 0], np.int32)
    return np.asarray(numbers[classes][inverse].reshape(shape))


def _nearest(
    colours: npt.NDArray[np.int64], table: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the index of the nearest table colour for each of (N, 3) colours, and its distance."""
    indices, distances = [], []
    for start in range(0, len(colours), _CHUNK):
        part = colours[start : start + _CHUNK]
        squares = (part**2).sum(1)[:, None] - 2 * part @ table.T + (table**2).sum(1)  # (chunk, classes)
        indices.append(squares.argmin(1))
        distances.append(np.sqrt(squares.min(1)))
    return np.concatenate(indices), np.concatenate(distances)
