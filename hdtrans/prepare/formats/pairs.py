"""Picture pairs computed from photos: edges, grey or low resolution, each with its photo."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.data.derived import edges
from hdtrans.data.folders import gather
from hdtrans.data.io.read import with_channels
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.sources.source import Item
from hdtrans.prepare.writing.pictures import resize_photo

HELP = "photos only: computes train_A/ (edges, grey or low resolution) for train_B/ (the photo)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--photo-dir",
        default=".",
        metavar="DIR",
        help="photo folder below --in; {split} is replaced by train, val, test (default: --in itself)",
    )
    parser.add_argument(
        "--make",
        choices=("edges", "grey", "low-resolution"),
        default="edges",
        help="input to compute from each photo (default: edges)",
    )
    parser.add_argument(
        "--low", type=float, default=100, help="edges: lower hysteresis threshold of Canny, 0 to --high (default: 100)"
    )
    parser.add_argument("--high", type=float, default=200, help="edges: upper hysteresis threshold (default: 200)")
    parser.add_argument(
        "--blur",
        type=float,
        default=1,
        help="edges: standard deviation of the Gaussian blur beforehand, 0 to 100 pixels (default: 1)",
    )
    parser.add_argument(
        "--factor", type=int, default=4, help="low-resolution: downscaling factor, at least 2 (default: 4)"
    )


def open_source(root: Path, options: argparse.Namespace) -> "PairsSource":
    """Check the ranges of the numbers."""
    if not 0 <= options.low <= options.high:
        finding = f"give 0 <= low <= high; high is {options.high:g}"
        raise UserError(finding, argument="low", value=f"{options.low:g}")
    if not 0 <= options.blur <= 100:
        raise UserError("give 0 (no blur) to 100 pixels", argument="blur", value=f"{options.blur:g}")
    if options.factor < 2:
        raise UserError("give 2 or more", argument="factor", value=options.factor)
    return PairsSource(root, options.photo_dir, options.make, options.low, options.high, options.blur, options.factor)


@dataclass(frozen=True)
class PairsSource:
    """Photos in folders, and the input to compute from them; attributes are the options of the same names."""

    root: Path
    photo: str
    make: str
    low: float
    high: float
    blur: float
    factor: int

    @property
    def lossless(self) -> bool:
        """True for edges, which are always written without loss."""
        return self.make == "edges"

    def items(self) -> list[Item]:
        """Return one item per photo; its group is its sub-folder."""
        if "{split}" not in self.photo:
            return self._items(self.root / self.photo, None)
        folders = {split: self.root / self.photo.replace("{split}", split) for split in SPLITS}
        found = [item for split, folder in folders.items() if folder.is_dir() for item in self._items(folder, split)]
        if not found:
            finding = f"none of {', '.join(map(str, folders.values()))} exists"
            raise UserError(finding, argument="photo_dir", value=self.photo)
        return found

    def _items(self, folder: Path, split: str | None) -> list[Item]:
        if not folder.is_dir():
            raise UserError(f"no such folder: {folder}", argument="photo_dir", value=self.photo)
        return [
            Item(sample.name, split, sample.name.rpartition("/")[0] or sample.name, Path(sample.paths["photo"]))
            for sample in gather({"photo": folder})
        ]

    def make_input(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Compute edges (0 on a line, 255 elsewhere), grey, or the photo downscaled and upscaled again (bicubic)."""
        if self.make == "edges":
            return edges(photo, self.low, self.high, self.blur)
        if self.make == "grey":
            return with_channels(photo, 1)
        height, width = photo.shape[:2]
        small = resize_photo(photo, max(1, round(height / self.factor)), max(1, round(width / self.factor)))
        return resize_photo(small, height, width)
