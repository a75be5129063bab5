"""COCO: panoptic, instance and stuff annotations, alone or merged into one label map.

A panoptic id is R + 256 G + 65536 B; masks are polygons or run-length encoded (RLE). Where annotations overlap, things
are drawn over stuff, and within each the smaller over the larger.
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
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.read import read_instance
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import abridged, field, read_json, size_of, to_points
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import Canvas, Mask, Region, empty_note, polygon
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import (
    add_background,
    background_id,
    check_same_size,
    class_table,
    parse_colour,
    translate,
)

HELP = "COCO: panoptic, instance and stuff annotations (annotations/*.json and photos)"
NEEDS_PHOTOS = True

TASKS = ("panoptic", "instances", "stuff")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        help="annotation types to draw (default: panoptic if present, else instances and stuff)",
    )
    parser.add_argument(
        "--annotations",
        nargs="+",
        metavar="JSON",
        help="annotation files to read (default: all whose names contain the task)",
    )
    parser.add_argument("--photo-dir", metavar="DIR", help="photo folder below --in (default: found by file name)")
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Coco":
    """Read the annotation files and merge their categories into one class table."""
    files = [option_path(root, name) for name in options.annotations or []] or _annotation_files(root, options.tasks)
    documents = [(path, read_json(path)) for path in files]
    return Coco(root, documents, root / (options.photo_dir or ""), options.background)


@dataclass(frozen=True)
class _Category:
    name: str
    thing: bool
    colour: Colour | None


@dataclass(frozen=True)
class _Entry:
    """One picture of the annotation files.

    Attributes:
        size: (height, width) in pixels.
        files: annotation files that list it.
        annotations: (annotation file, entry of its `annotations`).
    """

    size: tuple[int, int]
    files: list[Path] = dataclasses.field(default_factory=list)
    annotations: list[tuple[Path, Mapping[str, Any]]] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class _Segment:
    category: int
    crowd: bool
    mask: Mask
    where: str


class Coco(ListedSource):
    """COCO annotation files; class ids follow the order of the category ids."""

    def __init__(self, root: Path, documents: list[tuple[Path, Any]], photos: Path, background: str | None) -> None:
        categories = _categories(documents)
        known = [category for _, category in sorted(categories.items())]
        names, colours = [category.name for category in known], [category.colour for category in known]
        if background is not None and background not in names:
            names, colours = [background, *names], [None, *colours]
        first = len(names) - len(known)
        self.classes: ClassTable = class_table(names, colours)
        self._background_id = background_id(self.classes, background)
        self._class_ids = {number: first + index for index, number in enumerate(sorted(categories))}
        self._things = {number for number, category in categories.items() if category.thing}
        self._items = _items(root, documents, photos)

    def read(self, item: Item) -> Maps:
        """Draw an item's annotations."""
        entry: _Entry = item.detail
        segments = [segment for annotation in entry.annotations for segment in _segments(*annotation, entry.size)]
        order, empty = [], []
        for number, segment in enumerate(segments):
            if segment.category not in self._class_ids:
                raise UserError(f"{segment.where}: category_id {segment.category} is not listed in categories")
            order.append((segment.category in self._things, -int(segment.mask.sum()), number))
            if not order[-1][1]:
                empty.append(segment.where.removeprefix(f"{item.annotations[0]}: "))
        canvas = Canvas(*entry.size, self._background_id)
        for thing, _, number in sorted(order):
            segment = segments[number]
            instance = number if thing and not segment.crowd else NO_INSTANCE
            canvas.draw(Region(0, 0, segment.mask), self._class_ids[segment.category], instance)
        notes = empty_note(empty) if segments else ["no annotation"]
        return Maps(canvas.label, canvas.instance if self._things else None, tuple(notes))


def _annotation_files(root: Path, tasks: list[str] | None) -> list[Path]:
    """Return the annotation files for the given tasks, or for the default ones."""
    present = [path for path in files_under(root, (".json",)) if not path.name.endswith("categories.json")]
    by_task = {task: [path for path in present if task in path.name] for task in TASKS}
    by_task["instances"] += [path for path in present if path.name == "_annotations.coco.json"]
    wanted = tasks or (["panoptic"] if by_task["panoptic"] else ["instances", "stuff"])
    files = [path for task in wanted for path in by_task[task]]
    lacking = [task for task in tasks or [] if not by_task[task]]
    if lacking or not files:
        raise UserError(
            f"contains no annotation file for {', '.join(lacking or TASKS)}, such as instances_train.json. "
            f"{listing(root)}",
            path=root,
            advice=[Advice("annotations", "FILE", "for other names")],
        )
    return files


def _categories(documents: list[tuple[Path, Any]]) -> dict[int, _Category]:
    """Return the categories of all files by id.

    A category is a thing by its `isthing`, or else unless its file is a stuff file.
    """
    found: dict[int, _Category] = {}
    for path, document in documents:
        for index, category in enumerate(field(document, "categories", list, str(path))):
            where = f"{path}: categories[{index}]"
            number, name = field(category, "id", int, where), field(category, "name", str, where)
            thing = bool(category.get("isthing", "stuff" not in path.name))
            before = found.setdefault(number, _Category(name, thing, parse_colour(category.get("color"))))
            if before.name != name:
                raise UserError(f"{where}: {number} is {name!r} here, but {before.name!r} in another file")
    return found


def _items(root: Path, documents: list[tuple[Path, Any]], folder: Path) -> list[Item]:
    """Return one item per picture, with its annotations from all files."""
    entries: dict[tuple[str | None, str], _Entry] = {}
    for path, document in documents:
        split = split_of(path.stem, path.parent.name)
        by_id: dict[object, _Entry] = {}
        for index, image in enumerate(field(document, "images", list, str(path))):
            where = f"{path}: images[{index}]"
            name, size, number = field(image, "file_name", str, where), size_of(image, where), _picture_id(image, "id")
            if not Path(name).name or number is None:
                raise UserError(f"{where}: has no file_name or no id")
            entry = entries.setdefault((split, name), _Entry(size))
            check_same_size(size, entry.size, where, "another annotation file")
            entry.files.append(path)
            by_id[number] = entry
        for index, annotation in enumerate(field(document, "annotations", list, str(path))):
            where = f"{path}: annotations[{index}]"
            if (number := _picture_id(annotation, "image_id")) not in by_id:
                raise UserError(f"{where}: image_id {abridged(number)} is not listed in images")
            by_id[number].annotations.append((path, annotation))
    photos = _photo_paths(folder, list(entries))
    items = []
    for (split, name), entry in entries.items():
        stem = Path(name).with_suffix("").as_posix()
        items.append(Item(stem, split, stem, photos.get((split, name)), tuple(entry.files), entry))
    return sorted_items(items, root)


def _picture_id(values: object, key: str) -> int | float | str | None:
    """Return a picture id: a number in COCO, a string in some exports; None if missing."""
    found = values.get(key) if isinstance(values, Mapping) else None
    return found if isinstance(found, int | float | str) else None


def _photo_paths(folder: Path, wanted: list[tuple[str | None, str]]) -> dict[tuple[str | None, str], Path]:
    """Return the photo path per (split, file name); among equal names, the one in a folder named after the split.

    A missing photo gets its expected path, so that reading reports it. If none exists at all, the result is empty.
    """
    by_name = defaultdict(list)
    for path in files_under(folder):
        by_name[path.name].append(path)
    found = {}
    for split, name in wanted:
        fitting = [path for path in by_name[Path(name).name] if path.as_posix().endswith(f"/{name}")]
        own = [path for path in fitting if split_of(*path.relative_to(folder).parts[:-1]) == split]
        if len(fitting) > 1 and len(own) != 1:
            finding = f"{fitting[0]} and {fitting[1]}: both match the photo {name!r}"
            raise UserError(finding, advice=[Advice("photo_dir", "DIR", "with one of them")])
        if fitting:
            found[split, name] = (own or fitting)[0]
    return {key: found.get(key, folder / key[1]) for key in wanted} if found else {}


def _segments(path: Path, annotation: Mapping[str, Any], size: tuple[int, int]) -> Iterator[_Segment]:
    """Yield the segments of one entry of `annotations`: one object, or all of a panoptic picture."""
    where = f"{path}: annotation {annotation.get('id', annotation.get('image_id'))}"
    if "segments_info" not in annotation:
        category, crowd = field(annotation, "category_id", int, where), bool(annotation.get("iscrowd"))
        yield _Segment(category, crowd, _mask(annotation, *size, where), where)
        return
    folder, name = path.with_suffix(""), field(annotation, "file_name", str, where)
    if not folder.is_dir():
        hint = f"; unpack {folder}.zip" if folder.with_suffix(".zip").is_file() else ""
        raise UserError(f"no such folder; it must contain the panoptic PNGs of {path.name}{hint}", path=folder)
    ids = read_instance(folder / name)
    check_same_size(ids.shape, size, str(folder / name), path)
    known = {0}
    for segment in field(annotation, "segments_info", list, where):
        number = field(segment, "id", int, where)
        here = f"{where}: segment {number}"
        known.add(number)
        yield _Segment(field(segment, "category_id", int, here), bool(segment.get("iscrowd")), ids == number, here)
    translate(ids, dict.fromkeys(known, 0), str(folder / name), f"ids missing in {path.name}")


def _mask(annotation: Mapping[str, Any], height: int, width: int, where: str) -> Mask:
    """Decode a `segmentation` into an (H, W) mask: polygons, or RLE as a list or as compressed text."""
    shape = annotation.get("segmentation")
    if isinstance(shape, Mapping):
        if (size := field(shape, "size", list, where)) != [height, width]:
            raise UserError(f"{where}: mask size {abridged(size)} differs from picture size {[height, width]} (H, W)")
        return decode(shape.get("counts"), height, width, where)
    if not isinstance(shape, list) or not shape:
        raise UserError(f"{where}: has no segmentation: {abridged(shape)}; a label map cannot be drawn from boxes")
    mask = np.zeros((height, width), np.bool_)
    for part in shape:
        region = polygon(to_points(part, 3, where), height, width)
        rows, columns = region.mask.shape
        mask[region.top : region.top + rows, region.left : region.left + columns] |= region.mask
    return mask
