"""Photos alone, to pairs: their edges, grey or low resolution beside them."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.data.derived import edges
from hdtrans.data.folders import gather
from hdtrans.data.io.read import with_channels
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.sources.source import Item
from hdtrans.prepare.writing.pictures import resize_photo

HELP = "photos alone, to train_A/ (edges, grey or low resolution) and train_B/ (the photo)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--photo-dir",
        default=".",
        metavar="DIR",
        help="in --in; {split} stands for train, val, test (default: --in itself)",
    )
    parser.add_argument("--make", choices=("edges", "grey", "low-resolution"), default="edges", help="(edges)")
    parser.add_argument("--low", type=float, default=100, help="edges: lower threshold of Canny's hysteresis (100)")
    parser.add_argument("--high", type=float, default=200, help="edges: upper threshold (200)")
    parser.add_argument("--blur", type=float, default=1, help="edges: deviation of the smoothing before, in pixels (1)")
    parser.add_argument("--factor", type=int, default=4, help="low-resolution: how many times smaller (4)")


def open_source(root: Path, options: argparse.Namespace) -> "PairsSource":
    """Check the numbers."""
    if not 0 <= options.low <= options.high:
        raise UserError(f"--low {options.low:g} --high {options.high:g}: give 0 <= low <= high")
    if not 0 <= options.blur <= 100:
        raise UserError(f"--blur {options.blur:g}: give a deviation from 0 (none) to 100 pixels")
    if options.factor < 2:
        raise UserError(f"--factor {options.factor}: give 2 or more")
    return PairsSource(root, options.photo_dir, options.make, options.low, options.high, options.blur, options.factor)


@dataclass(frozen=True)
class PairsSource:
    """Photos in folders, and what is made of them."""

    root: Path
    photo: str
    make: str
    low: float
    high: float
    blur: float
    factor: int

    @property
    def lossless(self) -> bool:
        """Edges are written as PNG."""
        return self.make == "edges"

    def items(self) -> list[Item]:
        """Return an item for every photo; its sub-folder is its group."""
        if "{split}" not in self.photo:
            return self._items(self.root / self.photo, None)
        folders = {split: self.root / self.photo.replace("{split}", split) for split in SPLITS}
        found = [item for split, folder in folders.items() if folder.is_dir() for item in self._items(folder, split)]
        if not found:
            raise UserError(f"--photo-dir {self.photo}: there is none of {', '.join(map(str, folders.values()))}")
        return found

    def _items(self, folder: Path, split: str | None) -> list[Item]:
        if not folder.is_dir():
            raise UserError(f"--photo-dir {self.photo}: there is no folder {folder}")
        return [
            Item(sample.name, split, sample.name.rpartition("/")[0] or sample.name, Path(sample.paths["photo"]))
            for sample in gather({"photo": folder})
        ]

    def input_of(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Make edges (0 on a line, 255 elsewhere), grey, or a picture made smaller and brought back to its size."""
        if self.make == "edges":
            eight_bit = photo if photo.dtype == np.uint8 else np.rint(photo / 257).astype(np.uint8)
            return edges(with_channels(eight_bit, 3 if photo.shape[2] > 1 else 1), self.low, self.high, self.blur)
        if self.make == "grey":
            return with_channels(photo, 1)
        height, width = photo.shape[:2]
        small = resize_photo(photo, max(1, round(height / self.factor)), max(1, round(width / self.factor)))
        return resize_photo(small, height, width)
