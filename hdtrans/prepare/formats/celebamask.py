"""CelebAMask-HQ: a mask for each part of a face, merged in an order."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.header import EXTENSIONS, probe, shown
from hdtrans.data.io.read import read_picture
from hdtrans.data.pairing import natural
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.writing.pictures import frame_of

HELP = "CelebAMask-HQ: per-part face masks (00000_skin.png, ...), merged in an order"

ORDER = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip"),
    *("hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""The order in which the data set's own script paints parts over each other; their classes are 1 to 18."""

_PHOTOS = "CelebA-HQ-img"
_MASKS = "CelebAMask-HQ-mask-anno"
_MASK = re.compile(r"([0-9]+)_([A-Za-z_]+)")
_ON = 127


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument("--photo-dir", default=_PHOTOS, metavar="DIR", help="in --in (%(default)s)")
    parser.add_argument("--mask-dir", default=_MASKS, metavar="DIR", help="in --in, with sub-folders (%(default)s)")
    parser.add_argument(
        "--order",
        default=",".join(ORDER),
        metavar="PARTS",
        help="parts from the lowest to the topmost; parts left out are not painted (%(default)s)",
    )


def open_source(root: Path, options: argparse.Namespace) -> "CelebaMaskSource":
    """Check the folders and the order."""
    for option, name in (("--photo-dir", options.photo_dir), ("--mask-dir", options.mask_dir)):
        if not (root / name).is_dir():
            there = sorted(path.name for path in root.iterdir() if path.is_dir())
            raise UserError(f"{option}: there is no {root / name}.{nearest(name, there)}")
    order = tuple(part.strip() for part in options.order.split(","))
    for part in order:
        if part not in ORDER:
            raise UserError(f"--order: there is no part {part!r}.{nearest(part, ORDER)} Parts are {', '.join(ORDER)}")
        if order.count(part) > 1:
            raise UserError(f"--order: {part!r} stands twice")
    return CelebaMaskSource(root / options.photo_dir, root / options.mask_dir, order)


@dataclass(frozen=True)
class CelebaMaskSource:
    """Photos, and masks by number and part."""

    photos: Path
    masks: Path
    order: tuple[str, ...]

    @property
    def classes(self) -> ClassTable:
        """Background, then the parts as the data set counts them, whatever the order of painting."""
        names = ("background", *ORDER)
        colours = ClassTable.generic(len(names)).colours
        return ClassTable(names, ((0, 0, 0), *colours[1:]), None)

    def items(self) -> list[Item]:
        """Return an item for every photo and for every number that has masks."""
        parts: dict[int, list[tuple[str, Path]]] = {}
        for path in self.masks.rglob("*.png"):
            if found := _MASK.fullmatch(path.stem):
                parts.setdefault(int(found[1]), []).append((found[2], path))
        photos = {path.stem: path for path in self.photos.iterdir() if path.suffix.lower() in EXTENSIONS}
        numbers = {int(stem): path for stem, path in photos.items() if stem.isdecimal()}
        items = []
        for number in sorted(numbers.keys() | parts.keys()):
            photo = numbers.get(number, self.photos / f"{number}.jpg")
            masks = sorted(parts.get(number, []), key=lambda each: natural(each[1].name))
            files = tuple(path for _, path in masks)
            items.append(Item(photo.stem, None, photo.stem, photo, files, tuple(part for part, _ in masks)))
        if not items:
            raise UserError(f"{self.photos}: no photo is named by a number, as 0.jpg")
        return items

    def read(self, item: Item) -> Maps:
        """Paint the masks over each other; they are brought to the size of the photo, nearest by pixel centre."""
        assert item.photo is not None
        header = probe(item.photo)
        if not item.annotations:
            raise UserError(f"{shown(item.photo)}: has no mask in {shown(self.masks)}")
        files: dict[str, Path] = {}
        for part, path in zip(item.detail, item.annotations, strict=True):
            if part not in ORDER:
                raise UserError(f"{shown(path)}: there is no part {part!r}.{nearest(part, ORDER)}")
            if part in files:
                raise UserError(f"{shown(path)}: is a second mask of {part!r} beside {shown(files[part])}; keep one")
            files[part] = path
        label: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None = None
        for part in self.order:
            if part not in files:
                continue
            mask = read_picture(files[part], 1)[..., 0] > _ON
            label = np.zeros(mask.shape, np.uint8) if label is None else label
            if mask.shape != label.shape:
                raise UserError(f"{shown(files[part])}: has another size than the other masks of {item.name}")
            label[mask] = ORDER.index(part) + 1
        if label is None:
            raise UserError(f"{shown(item.photo)}: has no mask of a part in --order")
        height, width = label.shape
        if height * header.width != width * header.height:
            raise UserError(
                f"{shown(item.photo)}: is {header.width}x{header.height}, but its masks are {width}x{height}, "
                "of another aspect"
            )
        return Maps(frame_of(label.shape, (header.height, header.width), False).map(label))
