"""COCO: panoptic, instance and stuff annotations, alone or together in one label map.

A panoptic id is R + 256 G + 65536 B; masks are polygons or run-length codes. Where annotations cover each other, stuff
lies below things, and of each the larger below the smaller.
"""

import dataclasses
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.classes import ClassTable, Colour
from hdtrans.common.errors import UserError
from hdtrans.data.io.read import read_instance
from hdtrans.prepare.sources.documents import field, read_json, shown, size_of, to_points
from hdtrans.prepare.sources.places import Listed, arranged, files_under, given, split_of, there
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import Canvas, Mask, Region, empty_note, polygon
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import add_background, class_table, outside, same_size, to_colour, translate

HELP = "COCO: panoptic, instances and stuff (annotations/*.json and the photos)"

TASKS = ("panoptic", "instances", "stuff")


def add_options(parser: ArgumentParser) -> None:
    """Add what COCO alone is asked."""
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, help="what to draw (default: panoptic; without it, instances and stuff)"
    )
    parser.add_argument(
        "--annotations",
        nargs="+",
        metavar="JSON",
        help="the files to read (default: those whose names have the task in them)",
    )
    parser.add_argument("--photo-dir", metavar="DIR", help="of photos, below --in (default: found by name)")
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Coco":
    """Find the annotation files, and join their categories to one class table."""
    files = [given(root, name) for name in options.annotations or []] or _found(root, options.tasks)
    documents = [(path, read_json(path)) for path in files]
    return Coco(root, documents, root / (options.photo_dir or ""), options.background)


@dataclass(frozen=True)
class _Category:
    name: str
    thing: bool
    colour: Colour | None


@dataclass(frozen=True)
class _Entry:
    """A picture's (H, W), the files that list it, and its entries of `annotations`."""

    size: tuple[int, int]
    files: list[Path] = dataclasses.field(default_factory=list)
    annotations: list[tuple[Path, Mapping[str, Any]]] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class _Segment:
    category: int
    crowd: bool
    mask: Mask
    where: str


class Coco(Listed):
    """COCO's annotation files, whose category ids become places in their order."""

    def __init__(self, root: Path, documents: list[tuple[Path, Any]], photos: Path, background: str | None) -> None:
        categories = _categories(documents)
        known = [category for _, category in sorted(categories.items())]
        names, colours = [category.name for category in known], [category.colour for category in known]
        if background is not None and background not in names:
            names, colours = [background, *names], [None, *colours]
        first = len(names) - len(known)
        self.classes: ClassTable = class_table(names, colours)
        self._outside = outside(self.classes, background)
        self._places = {number: first + place for place, number in enumerate(sorted(categories))}
        self._things = {number for number, category in categories.items() if category.thing}
        self._items = _items(root, documents, photos)

    def read(self, item: Item) -> Maps:
        """Draw the annotations of a picture."""
        entry: _Entry = item.detail
        segments = [segment for annotation in entry.annotations for segment in _segments(*annotation, entry.size)]
        order, empty = [], []
        for number, segment in enumerate(segments):
            if segment.category not in self._places:
                raise UserError(f"{segment.where}: its category {segment.category} is not among the categories")
            order.append((segment.category in self._things, -int(segment.mask.sum()), number))
            if not order[-1][1]:
                empty.append(segment.where.removeprefix(f"{item.annotations[0]}: "))
        canvas = Canvas(*entry.size, self._outside)
        for thing, _, number in sorted(order):
            segment = segments[number]
            instance = number if thing and not segment.crowd else UNCOUNTED
            canvas.draw(Region(0, 0, segment.mask), self._places[segment.category], instance)
        notes = empty_note(empty) if segments else ["has no annotation"]
        return Maps(canvas.label, canvas.instance if self._things else None, tuple(notes))


def _found(root: Path, tasks: list[str] | None) -> list[Path]:
    """Return the annotation files of the tasks that are asked for, or that there are."""
    there_are = [path for path in files_under(root, (".json",)) if not path.name.endswith("categories.json")]
    by_task = {task: [path for path in there_are if task in path.name] for task in TASKS}
    by_task["instances"] += [path for path in there_are if path.name == "_annotations.coco.json"]
    wanted = tasks or (["panoptic"] if by_task["panoptic"] else ["instances", "stuff"])
    files = [path for task in wanted for path in by_task[task]]
    lacking = [task for task in tasks or [] if not by_task[task]]
    if lacking or not files:
        raise UserError(
            f"{root}: has no annotation file of {', '.join(lacking or TASKS)}, such as instances_train.json "
            f"(--annotations names others). {there(root)}"
        )
    return files


def _categories(documents: list[tuple[Path, Any]]) -> dict[int, _Category]:
    """Return the categories of all files by id; things are those that say so, or that are not of a stuff file."""
    found: dict[int, _Category] = {}
    for path, document in documents:
        for place, category in enumerate(field(document, "categories", list, str(path))):
            where = f"{path}: categories[{place}]"
            number, name = field(category, "id", int, where), field(category, "name", str, where)
            thing = bool(category.get("isthing", "stuff" not in path.name))
            before = found.setdefault(number, _Category(name, thing, to_colour(category.get("color"))))
            if before.name != name:
                raise UserError(f"{where}: {number} is {name!r} here, but {before.name!r} in another file")
    return found


def _items(root: Path, documents: list[tuple[Path, Any]], folder: Path) -> list[Item]:
    """Return an item for every picture, with the annotations of all files that list it."""
    entries: dict[tuple[str | None, str], _Entry] = {}
    for path, document in documents:
        split = split_of(path.stem, path.parent.name)
        by_id: dict[object, _Entry] = {}
        for place, image in enumerate(field(document, "images", list, str(path))):
            where = f"{path}: images[{place}]"
            name, size, number = field(image, "file_name", str, where), size_of(image, where), _id(image, "id")
            if not Path(name).name or number is None:
                raise UserError(f"{where}: has no file_name or no id")
            entry = entries.setdefault((split, name), _Entry(size))
            same_size(size, entry.size, where, "another annotation file")
            entry.files.append(path)
            by_id[number] = entry
        for place, annotation in enumerate(field(document, "annotations", list, str(path))):
            where = f"{path}: annotations[{place}]"
            if (number := _id(annotation, "image_id")) not in by_id:
                raise UserError(f"{where}: no picture in its images has the id {shown(number)}")
            by_id[number].annotations.append((path, annotation))
    photos = _photos(folder, list(entries))
    items = []
    for (split, name), entry in entries.items():
        stem = Path(name).with_suffix("").as_posix()
        items.append(Item(stem, split, stem, photos.get((split, name)), tuple(entry.files), entry))
    return arranged(items, root)


def _id(values: object, key: str) -> int | float | str | None:
    """Return an id of a picture: COCO has numbers, others texts."""
    found = values.get(key) if isinstance(values, Mapping) else None
    return found if isinstance(found, int | float | str) else None


def _photos(folder: Path, wanted: list[tuple[str | None, str]]) -> dict[tuple[str | None, str], Path]:
    """Return the photo of each (split, file name): the file of that name, in a folder of that split if there are two.

    Where no photo is found at all there are none; else those that are missing get the path where they should be.
    """
    by_name = defaultdict(list)
    for path in files_under(folder):
        by_name[path.name].append(path)
    found = {}
    for split, name in wanted:
        fitting = [path for path in by_name[Path(name).name] if path.as_posix().endswith(f"/{name}")]
        own = [path for path in fitting if split_of(*path.relative_to(folder).parts[:-1]) == split]
        if len(fitting) > 1 and len(own) != 1:
            raise UserError(f"{fitting[0]} and {fitting[1]}: both could be the photo {name!r}; choose by --photo-dir")
        if fitting:
            found[split, name] = (own or fitting)[0]
    return {key: found.get(key, folder / key[1]) for key in wanted} if found else {}


def _segments(path: Path, annotation: Mapping[str, Any], size: tuple[int, int]) -> Iterator[_Segment]:
    """Yield what one entry of `annotations` describes: one object, or a whole panoptic picture."""
    where = f"{path}: annotation {annotation.get('id', annotation.get('image_id'))}"
    if "segments_info" not in annotation:
        category, crowd = field(annotation, "category_id", int, where), bool(annotation.get("iscrowd"))
        yield _Segment(category, crowd, _mask(annotation, *size, where), where)
        return
    folder, name = path.with_suffix(""), field(annotation, "file_name", str, where)
    if not folder.is_dir():
        hint = f"; unpack {folder}.zip" if folder.with_suffix(".zip").is_file() else ""
        raise UserError(f"{folder}: is not there; the panoptic PNGs of {path.name} belong there{hint}")
    ids = read_instance(folder / name)
    same_size(ids.shape, size, str(folder / name), path)
    known = {0}
    for segment in field(annotation, "segments_info", list, where):
        number = field(segment, "id", int, where)
        here = f"{where}: segment {number}"
        known.add(number)
        yield _Segment(field(segment, "category_id", int, here), bool(segment.get("iscrowd")), ids == number, here)
    translate(ids, dict.fromkeys(known, 0), str(folder / name), f"ids that {path.name} does not know")


def _mask(annotation: Mapping[str, Any], height: int, width: int, where: str) -> Mask:
    """Return the mask of a `segmentation`: polygons, or run lengths as numbers or letters."""
    shape = annotation.get("segmentation")
    if isinstance(shape, Mapping):
        if (size := field(shape, "size", list, where)) != [height, width]:
            raise UserError(f"{where}: its mask has [height, width] {shown(size)}, its picture {[height, width]}")
        return decode(shape.get("counts"), height, width, where)
    if not isinstance(shape, list) or not shape:
        raise UserError(f"{where}: has no segmentation: {shown(shape)}; boxes alone make no label map")
    mask = np.zeros((height, width), np.bool_)
    for part in shape:
        region = polygon(to_points(part, 3, where), height, width)
        rows, columns = region.mask.shape
        mask[region.top : region.top + rows, region.left : region.left + columns] |= region.mask
    return mask
