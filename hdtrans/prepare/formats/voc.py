"""Pascal VOC: palette PNGs of classes and of objects, whose borders (255) are ignored; or the same in VOC's colours.

A labelmap.txt (name:red,green,blue:parts:actions), as CVAT writes, gives other classes than VOC's own.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from hdtrans.common.classes import Colour
from hdtrans.common.errors import UserError
from hdtrans.data.io.read import probe, read_instance, read_label, read_picture
from hdtrans.prepare.sources.documents import read_lines
from hdtrans.prepare.sources.places import Listed, Photos, arranged, existing, files_under
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import class_table, packed, same_size, to_colour, translate, translate_colours

HELP = "Pascal VOC (SegmentationClass/, SegmentationObject/, ImageSets/, JPEGImages/)"

_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus"),
    *("car", "cat", "chair", "cow", "diningtable", "dog", "horse"),
    *("motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_BORDER = 255
_BORDER_COLOUR = (224, 224, 192)


def add_options(parser: ArgumentParser) -> None:
    """Add nothing: the folders have fixed names."""


def open_source(root: Path, options: Namespace) -> "Voc":
    """Find the label maps, and the lists that say which split each belongs to."""
    return Voc(root)


class Voc(Listed):
    """The pictures of SegmentationClass/, with their objects where SegmentationObject/ is there."""

    def __init__(self, root: Path) -> None:
        folder = existing(root, ["SegmentationClass"], "label maps of VOC")
        names, colours = list(_NAMES), [_voc_colour(place) for place in range(len(_NAMES))]
        if (root / "labelmap.txt").is_file():
            names, colours = _labelmap(root / "labelmap.txt")
        self.classes = class_table(names, colours)
        ignore = self.classes.ignore or _BORDER
        self._ids = {_BORDER: ignore, **{place: place for place in range(len(names))}}
        self._colours = {_BORDER_COLOUR: ignore, **{colour: place for place, colour in enumerate(colours)}}
        self._items = arranged(_items(root, folder), root)

    def read(self, item: Item) -> Maps:
        """Read the maps of a picture."""
        path, *objects = item.annotations
        if probe(path).channels == 1:
            label = translate(read_label(path), self._ids, str(path))
        else:
            label = translate_colours(read_picture(path), self._colours, str(path))
        if not objects:
            return Maps(label)
        numbers, border = read_instance(objects[0]).astype(np.int64), _BORDER
        if probe(objects[0]).channels > 1:
            border = int(packed(np.array(_BORDER_COLOUR[::-1])))  # read_instance has red in its lowest byte
        same_size(numbers.shape, label.shape, str(objects[0]), path)
        return Maps(label, np.where((numbers == 0) | (numbers == border), UNCOUNTED, numbers))


def _items(root: Path, folder: Path) -> list[Item]:
    there = {path.stem for path in files_under(folder, (".png",))}
    splits: dict[str, str | None] = dict.fromkeys(there)
    lists = root / "ImageSets" / "Segmentation"
    for kind in ("test", "trainval", "val", "train"):
        if (lists / f"{kind}.txt").is_file():
            listed = (line.split()[0] for line in read_lines(lists / f"{kind}.txt"))
            # The test lists name pictures whose label maps were never published.
            named = [name for name in listed if kind != "test" or name in there]
            splits.update(dict.fromkeys(named, None if kind == "trainval" else kind))
    photos, objects = Photos(root / "JPEGImages"), root / "SegmentationObject"
    items = []
    for name, split in splits.items():
        annotations = [folder / f"{name}.png"]
        if objects.is_dir():
            annotations.append(objects / f"{name}.png")
        items.append(Item(name, split, name, photos.find(name), tuple(annotations)))
    return items


def _labelmap(path: Path) -> tuple[list[str], list[Colour]]:
    """Return the names and colours of a labelmap.txt, without the one that stands for the border."""
    names, colours = [], []
    for line in read_lines(path):
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        colour = to_colour([int(number) for number in numbers]) if all(n.strip().isdecimal() for n in numbers) else None
        if colour is None:
            raise UserError(f"{path}: expected name:red,green,blue:parts:actions, got {line!r}")
        if colour != _BORDER_COLOUR:
            names.append(name)
            colours.append(colour)
    return names, colours


def _voc_colour(place: int) -> Colour:
    """Return VOC's colour: the bits of the place go by threes to red, green and blue, the highest first."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (place >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
