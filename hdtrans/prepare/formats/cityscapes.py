"""Cityscapes: leftImg8bit/ and gtFine/, with label and instance id maps or with polygons only."""

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.header import shown
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.data.pairing import natural
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.sources.class_names import clean_name
from hdtrans.prepare.sources.dataset_files import check_folder, files_under
from hdtrans.prepare.sources.documents import field, flag, read_json, size_of, to_points
from hdtrans.prepare.sources.shapes import Undrawn
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps

HELP = "Cityscapes: leftImg8bit/ and gtFine/ (label and instance id maps, or polygons only)"
NEEDS_PHOTOS = True

IGNORED = 255
COUNTED = range(24, 34)
"""Ids of the thing classes, those with instances."""

TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of the 19 evaluation classes; their positions are the train ids."""

_ENDINGS = {
    "label": "_gtFine_labelIds.png",
    "instance": "_gtFine_instanceIds.png",
    "polygons": "_gtFine_polygons.json",
}
_PHOTO = "_leftImg8bit.png"
_PER_CLASS = 1000  # an instance id is class * 1000 + number
_FEWEST = 2  # corners of a polygon, which Pillow draws as a line
_GROUP = "group"
_PLATE = "license plate"  # id -1 in the data set: not drawn


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--ids",
        type=int,
        choices=(35, 19),
        default=35,
        help="classes: all 35, or the 19 evaluation classes (default: 35)",
    )


def open_source(root: Path, options: argparse.Namespace) -> "CityscapesSource":
    """Check that both folders exist."""
    for name in ("leftImg8bit", "gtFine"):
        check_folder(root, name, "root", "; Cityscapes has leftImg8bit/ and gtFine/, each with train/, val/, test/")
    return CityscapesSource(root, options.ids)


@dataclass(frozen=True)
class CityscapesSource:
    """Cityscapes with 35 or 19 classes."""

    root: Path
    ids: int

    @property
    def classes(self) -> ClassTable:
        """All 35 classes by id, or the 19 evaluation classes by train id."""
        if self.ids == len(CITYSCAPES):
            return CITYSCAPES
        names, colours = CITYSCAPES.names, CITYSCAPES.colours
        return ClassTable(tuple(names[i] for i in TRAIN_IDS), tuple(colours[i] for i in TRAIN_IDS), IGNORED)

    def items(self) -> list[Item]:
        """Return one item per photo or annotation; its group is the sequence."""
        items = []
        for split in SPLITS:
            photos = _files_by_name(self.root / "leftImg8bit" / split, (_PHOTO,))
            maps = _files_by_name(self.root / "gtFine" / split, tuple(_ENDINGS.values()))
            for key in sorted(photos.keys() | maps.keys(), key=natural):
                name = key.rpartition("/")[2]
                photo = photos.get(key, {}).get(_PHOTO, self.root / "leftImg8bit" / split / f"{key}{_PHOTO}")
                found = maps.get(key, {})
                label, instance, polygons = (found.get(ending) for ending in _ENDINGS.values())
                use_polygons = polygons and not (label and instance)
                files = tuple(path for path in ((polygons,) if use_polygons else (label, instance)) if path)
                items.append(Item(name, split, name.rpartition("_")[0] or name, photo, files))
        if not items:
            raise UserError(
                f"no file in leftImg8bit/ or gtFine/ has a Cityscapes name (*{_PHOTO}, "
                f"{', '.join(f'*{ending}' for ending in _ENDINGS.values())})",
                argument="root",
                path=self.root,
            )
        return items

    def read(self, item: Item) -> Maps:
        """Read an item's id maps, or draw its polygons."""
        if not item.annotations:
            raise UserError(f"{shown(item.photo or item.name)}: has no annotation in gtFine/ ({item.name}_gtFine_...)")
        first, last = item.annotations[0], item.annotations[-1]
        label: npt.NDArray[Any]
        instance: npt.NDArray[np.int32] | None = None
        undrawn = Undrawn()
        if first.suffix == ".json":
            polygons = read_polygons(first)
            label, instance = draw_polygons(polygons, first)
            for number, (name, corners) in enumerate(polygons.objects):
                undrawn.outline(np.array(corners), f"object {number} ({name})", _FEWEST)
        else:
            if last.name.endswith(_ENDINGS["instance"]):
                instance = read_instance(last)
            label = read_label(first) if first != last or instance is None else _class_ids(instance)
        if self.ids != len(CITYSCAPES):
            label = _TRAIN_TABLE[_check_known(label, first)]
        things = None if instance is None else np.where(instance >= _PER_CLASS, instance, NO_INSTANCE)
        return Maps(label, things, tuple(undrawn.notes()))


def _class_ids(instance: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.where(instance >= _PER_CLASS, instance // _PER_CLASS, instance)


def _files_by_name(folder: Path, endings: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """Return {city/name: {ending: path}} for the files below a folder."""
    found: dict[str, dict[str, Path]] = {}
    for path in files_under(folder, [os.path.splitext(ending)[1] for ending in endings]):
        for ending in endings:
            if path.name.endswith(ending):
                found.setdefault(path.relative_to(folder).as_posix().removesuffix(ending), {})[ending] = path
    return found


def _train_table() -> npt.NDArray[np.uint8]:
    table = np.full(256, IGNORED, np.uint8)
    table[list(TRAIN_IDS)] = np.arange(len(TRAIN_IDS))
    return table


_TRAIN_TABLE = _train_table()


def _check_known(label: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if int(label.max()) >= len(CITYSCAPES) and (wrong := np.setdiff1d(label, [*range(len(CITYSCAPES)), IGNORED])).size:
        raise UserError(f"contains the id {wrong[0]}; Cityscapes has 0 to {len(CITYSCAPES) - 1}", path=path)
    return label


@dataclass(frozen=True)
class Polygons:
    """Polygon annotation of one photo.

    Attributes:
        height, width: photo size in pixels.
        objects: (class name, corners as (x, y)) in drawing order.
    """

    height: int
    width: int
    objects: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


def read_polygons(path: Path) -> Polygons:
    """Read a `_polygons.json` without deleted objects.

    Raises:
        UserError: the file is no Cityscapes annotation, or its size is out of range.
    """
    values, given = read_json(path), []
    height, width = size_of(values, shown(path), "imgHeight", "imgWidth")
    for index, each in enumerate(field(values, "objects", list, shown(path))):
        where = f"{shown(path)}: object {index}"
        name, points = clean_name(field(each, "label", str, where)), field(each, "polygon", list, where)
        if not flag(each, "deleted", False, where):
            given.append((name, tuple((x, y) for x, y in to_points(points, where).tolist())))
    return Polygons(height, width, tuple(given))


def draw_polygons(polygons: Polygons, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Draw polygons in order, as cityscapesScripts does.

    Groups (`cargroup`) are drawn as their class and get no instance.

    Returns:
        (H, W) label ids, and (H, W) instance ids: class * 1000 + number, or the class id without instance.
    """
    label = Image.new("L", (polygons.width, polygons.height), 0)
    instance = Image.new("I", label.size, 0)
    draws = ImageDraw.Draw(label), ImageDraw.Draw(instance)
    for number, thing, corners in _drawn_objects(polygons, path):
        if len(corners) >= _FEWEST:
            draws[0].polygon(corners, fill=number)
            draws[1].polygon(corners, fill=thing)
    return np.array(label), np.array(instance, np.int32)


def _drawn_objects(polygons: Polygons, path: Path) -> Iterator[tuple[int, int, tuple[tuple[float, float], ...]]]:
    """Yield class id, instance id and corners of each drawn object."""
    counts: Counter[int] = Counter()
    for name, corners in polygons.objects:
        single = name if name in _IDS else name.removesuffix(_GROUP)
        if single not in _IDS:
            raise UserError(f"unknown class {name!r}.{nearest(name, _IDS)}", path=path)
        if single == _PLATE:
            continue
        number = _IDS[single]
        if number in COUNTED and single == name:
            yield number, number * _PER_CLASS + counts[number], corners
            counts[number] += 1
        else:
            yield number, number, corners


_IDS = {name: index for index, name in enumerate(CITYSCAPES.names)}
