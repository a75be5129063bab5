"""CelebAMask-HQ: one mask per face part, merged into a label map in a given order."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError, nearest
from hdtrans.data.io.header import EXTENSIONS, probe, shown
from hdtrans.data.io.read import read_picture
from hdtrans.data.pairing import natural
from hdtrans.prepare.sources.dataset_files import check_folder, files_under
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import size_text
from hdtrans.prepare.writing.pictures import make_frame

HELP = "CelebAMask-HQ: per-part face masks (00000_skin.png, ...), merged into label maps"
NEEDS_PHOTOS = True

ORDER = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip"),
    *("hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""Paint order of the data set's own script, bottom first; class ids are 1 to 18."""

_PHOTOS = "CelebA-HQ-img"
_MASKS = "CelebAMask-HQ-mask-anno"
_MASK = re.compile(r"([0-9]+)_([A-Za-z_]+)")
_THRESHOLD = 127  # grey level above which a mask pixel belongs to the part


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--photo-dir", default=_PHOTOS, metavar="DIR", help="photo folder below --in (default: %(default)s)"
    )
    parser.add_argument(
        "--mask-dir",
        default=_MASKS,
        metavar="DIR",
        help="mask folder below --in, searched recursively (default: %(default)s)",
    )
    parser.add_argument(
        "--order",
        default=",".join(ORDER),
        metavar="PARTS",
        help="paint order of the parts, bottom first, comma-separated; omitted parts are not painted "
        "(default: %(default)s)",
    )


def open_source(root: Path, options: argparse.Namespace) -> "CelebaMaskSource":
    """Check the folders and the paint order."""
    for argument in ("photo_dir", "mask_dir"):
        check_folder(root, getattr(options, argument), argument)
    order = tuple(part.strip() for part in options.order.split(","))
    for part in order:
        if part not in ORDER:
            finding = f"unknown part {part!r}.{nearest(part, ORDER)} Parts are {', '.join(ORDER)}"
            raise UserError(finding, argument="order")
        if order.count(part) > 1:
            raise UserError(f"{part!r} is listed twice; list each part once", argument="order")
    return CelebaMaskSource(root / options.photo_dir, root / options.mask_dir, order)


@dataclass(frozen=True)
class CelebaMaskSource:
    """CelebAMask-HQ photos and their part masks, matched by photo number."""

    photos: Path
    masks: Path
    order: tuple[str, ...]

    @property
    def classes(self) -> ClassTable:
        """Background (0), then the parts in the data set's own order, independent of the paint order."""
        names = ("background", *ORDER)
        colours = ClassTable.generic(len(names)).colours
        return ClassTable(names, ((0, 0, 0), *colours[1:]), None)

    def items(self) -> list[Item]:
        """Return one item per photo, and per number that has masks only."""
        parts: dict[int, list[tuple[str, Path]]] = {}
        for path in files_under(self.masks, (".png",)):
            if found := _MASK.fullmatch(path.stem):
                parts.setdefault(int(found[1]), []).append((found[2], path))
        photos = {path.stem: path for path in files_under(self.photos, EXTENSIONS, deep=False)}
        numbers = {int(stem): path for stem, path in photos.items() if stem.isdecimal()}
        items = []
        for number in sorted(numbers.keys() | parts.keys()):
            photo = numbers.get(number, self.photos / f"{number}.jpg")
            masks = sorted(parts.get(number, []), key=lambda each: natural(each[1].name))
            files = tuple(path for _, path in masks)
            items.append(Item(photo.stem, None, photo.stem, photo, files, tuple(part for part, _ in masks)))
        if not items:
            raise UserError(f"{self.photos}: contains no photo named by its number, such as 0.jpg")
        return items

    def read(self, item: Item) -> Maps:
        """Paint the masks over each other and resize the label map to the photo, nearest by pixel centre."""
        assert item.photo is not None
        header = probe(item.photo)
        if not item.annotations:
            raise UserError(f"{shown(item.photo)}: has no mask in {shown(self.masks)}")
        files: dict[str, Path] = {}
        for part, path in zip(item.detail, item.annotations, strict=True):
            if part not in ORDER:
                raise UserError(f"unknown part {part!r}.{nearest(part, ORDER)}", path=path)
            if part in files:
                raise UserError(f"second mask for {part!r} besides {shown(files[part])}; keep one", path=path)
            files[part] = path
        label: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None = None
        for part in self.order:
            if part not in files:
                continue
            mask = read_picture(files[part], 1)[..., 0] > _THRESHOLD
            label = np.zeros(mask.shape, np.uint8) if label is None else label
            if mask.shape != label.shape:
                raise UserError(
                    f"{shown(files[part])}: has {size_text(mask.shape)} pixels, but another mask of {item.name} has "
                    f"{size_text(label.shape)}; all must have one size"
                )
            label[mask] = ORDER.index(part) + 1
        if label is None:
            way = Advice("order", "PARTS", "with one of them")
            raise UserError("none of its masks is a part to paint", path=item.photo, advice=[way])
        height, width = label.shape
        if height * header.width != width * header.height:
            raise UserError(
                f"{shown(item.photo)}: is {header.width}x{header.height}, but its masks are {width}x{height}; "
                "the aspect ratio must be the same"
            )
        return Maps(make_frame(label.shape, (header.height, header.width), False).map(label))
