"""Pascal VOC: palette or colour-coded PNGs of classes and objects; the border id 255 is ignored.

A labelmap.txt (name:red,green,blue:parts:actions, as CVAT exports) replaces VOC's own classes.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from pathlib import Path

import numpy as np

from hdtrans.common.classes import Colour
from hdtrans.common.errors import UserError
from hdtrans.data.io.read import probe, read_instance, read_label, read_picture
from hdtrans.prepare.sources.class_names import clean_name, space_notes
from hdtrans.prepare.sources.dataset_files import ListedSource, PhotoIndex, files_under, first_existing, sorted_items
from hdtrans.prepare.sources.documents import claim, read_lines
from hdtrans.prepare.sources.foreign_paths import foreign_path, stem_of
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import (
    check_same_size,
    class_table,
    pack_rgb,
    parse_colour,
    translate,
    translate_colours,
)

HELP = "Pascal VOC (SegmentationClass/, SegmentationObject/, ImageSets/, JPEGImages/)"
NEEDS_PHOTOS = True

_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus"),
    *("car", "cat", "chair", "cow", "diningtable", "dog", "horse"),
    *("motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_BORDER = 255
_BORDER_COLOUR = (224, 224, 192)


def add_options(parser: ArgumentParser) -> None:
    """Add no options: the folders have fixed names."""


def open_source(root: Path, options: Namespace) -> "Voc":
    """Index the label maps and the split lists."""
    return Voc(root)


class Voc(ListedSource):
    """Label maps in SegmentationClass/, with instance maps if SegmentationObject/ exists."""

    def __init__(self, root: Path) -> None:
        folder = first_existing(root, ["SegmentationClass"], "label maps of VOC")
        names, colours = list(_NAMES), [_voc_colour(index) for index in range(len(_NAMES))]
        if (root / "labelmap.txt").is_file():
            names, colours = _read_labelmap(root / "labelmap.txt")
            self.notes = tuple(space_notes(names))
            names = [clean_name(name) for name in names]
        self.classes = class_table(names, colours)
        ignore = self.classes.ignore or _BORDER
        self._ids = {_BORDER: ignore, **{index: index for index in range(len(names))}}
        self._colours = {_BORDER_COLOUR: ignore, **{colour: index for index, colour in enumerate(colours)}}
        items, notes = _items(root, folder)
        self.notes = (*self.notes, *notes)
        self._items = sorted_items(items, root)

    def read(self, item: Item) -> Maps:
        """Read an item's label and instance map."""
        path, *objects = item.annotations
        if probe(path).channels == 1:
            label = translate(read_label(path), self._ids, str(path))
        else:
            label = translate_colours(read_picture(path), self._colours, str(path))
        if not objects:
            return Maps(label)
        numbers, border = read_instance(objects[0]).astype(np.int64), _BORDER
        if probe(objects[0]).channels > 1:
            border = int(pack_rgb(np.array(_BORDER_COLOUR[::-1])))  # read_instance packs red into the lowest byte
        check_same_size(numbers.shape, label.shape, str(objects[0]), path)
        return Maps(label, np.where((numbers == 0) | (numbers == border), NO_INSTANCE, numbers))


def _items(root: Path, folder: Path) -> tuple[list[Item], list[str]]:
    """Return the items of the label maps and lists, and notes on names in several lists."""
    present = {path.relative_to(folder).with_suffix("").as_posix() for path in files_under(folder, (".png",))}
    splits: dict[str, str | None] = dict.fromkeys(present)
    lists = root / "ImageSets" / "Segmentation"
    twice: list[str] = []
    for kind in ("test", "trainval", "val", "train"):
        if (lists / f"{kind}.txt").is_file():
            listed = (_listed_name(line, present) for line in read_lines(lists / f"{kind}.txt"))
            # Test label maps were never published, though the list has their names.
            named = [name for name in listed if kind != "test" or name in present]
            twice += [f"{name!r} in {splits[name]} and {kind}" for name in dict.fromkeys(named) if splits.get(name)]
            splits.update(dict.fromkeys(named, None if kind == "trainval" else kind))
    photos, objects = PhotoIndex(root / "JPEGImages"), root / "SegmentationObject"
    items = []
    for name, split in splits.items():
        annotations = [folder / f"{name}.png"]
        if objects.is_dir():
            annotations.append(objects / f"{name}.png")
        items.append(Item(name, split, name, photos.find(name), tuple(annotations)))
    notes = [f"{len(twice)} name(s) are in two lists, and belong to the second: {twice[0]}"] if twice else []
    return items, notes


def _listed_name(line: str, present: Collection[str]) -> str:
    """Return the name in a line of a split list: a name, with spaces perhaps, or the path of a photo."""
    words = (line, line.strip("\"'"), line.split()[0])
    paths = [foreign_path(word) for word in words]
    spellings = (*words, *(path.stem for path in paths), *(stem_of(path.parts[-1:]) for path in paths))
    return next((spelling for spelling in spellings if spelling in present), words[-1])


def _read_labelmap(path: Path) -> tuple[list[str], list[Colour]]:
    """Read names and colours of a labelmap.txt, without the border's."""
    names, colours = [], []
    seen: dict[Colour, str] = {}
    for line in read_lines(path):
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        colour = (
            parse_colour([int(number) for number in numbers]) if all(n.strip().isdecimal() for n in numbers) else None
        )
        if colour is None:
            raise UserError(f"expected name:red,green,blue:parts:actions, got {line!r}", path=path)
        if colour != _BORDER_COLOUR:
            claim(seen, colour, f"{path}: {line!r}", "colour")
            names.append(name)
            colours.append(colour)
    return names, colours


def _voc_colour(index: int) -> Colour:
    """Return VOC's palette colour: each three bits of the index go to red, green, blue, from the highest bit down."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
