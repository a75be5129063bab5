"""COCO: panoptic, instance and stuff annotations, alone or merged into one label map.

A panoptic id is R + 256 G + 65536 B; masks are polygons or run-length encoded (RLE). Where annotations overlap, things
are drawn over stuff, and within each the smaller over the larger.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.read import read_instance
from hdtrans.prepare.sources.coco_documents import (
    Documents,
    Picture,
    panoptic_picture,
    read_categories,
    read_pictures,
)
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    add_photo_dir,
    files_under,
    listing,
    option_path,
    sorted_items,
)
from hdtrans.prepare.sources.documents import abridged, claim, field, flag, read_json, to_points, whole_number
from hdtrans.prepare.sources.foreign_paths import ForeignFiles, Wanted, find_photos, foreign_path, item_name
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import NO_PIXEL, Canvas, Mask, Region, Undrawn, polygon
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import (
    add_background,
    background_id,
    check_same_size,
    class_table,
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
    add_photo_dir(parser)
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Coco":
    """Read the annotation files and merge their categories into one class table."""
    files = [option_path(root, name) for name in options.annotations or []] or _annotation_files(root, options.tasks)
    documents = [(path, read_json(path)) for path in files]
    return Coco(root, documents, root / (options.photo_dir or ""), options.background)


@dataclass(frozen=True)
class _Segment:
    category: int
    crowd: bool
    mask: Mask
    where: str
    place: str


class Coco(ListedSource):
    """COCO annotation files; class ids follow the order of the category ids."""

    def __init__(self, root: Path, documents: Documents, photos: Path, background: str | None) -> None:
        categories, notes = read_categories(documents)
        known = {category.name: category.colour for _, category in sorted(categories.items(), reverse=True)}
        names = list(dict.fromkeys(category.name for _, category in sorted(categories.items())))
        colours = [known[name] for name in names]
        if background is not None and background not in names:
            names, colours = [background, *names], [None, *colours]
        self.classes: ClassTable = class_table(names, colours)
        self._background_id = background_id(self.classes, background)
        self._class_ids = {number: names.index(category.name) for number, category in categories.items()}
        self._things = {number for number, category in categories.items() if category.thing}
        pictures, more = read_pictures(documents)
        self.notes = (*notes, *more)
        self.shared = frozenset(path for path, _ in documents)
        self._items = sorted_items(_items(pictures, photos), root)

    def part(self, item: Item) -> object:
        """Return an item's size and annotations, and the classes of all categories."""
        picture: Picture = item.detail
        classes = [[number, index, number in self._things] for number, index in sorted(self._class_ids.items())]
        return [picture.size, [annotation for _, annotation in picture.annotations], classes]

    def read(self, item: Item) -> Maps:
        """Draw an item's annotations."""
        picture: Picture = item.detail
        undrawn = Undrawn()
        segments = [
            segment
            for path, annotation in picture.annotations
            for segment in _segments(path, annotation, picture.size, undrawn)
        ]
        order = []
        for number, segment in enumerate(segments):
            if segment.category not in self._class_ids:
                raise UserError(f"{segment.where}: category_id {segment.category} is not listed in categories")
            order.append((segment.category in self._things, -int(segment.mask.sum()), number))
            if not order[-1][1]:
                undrawn.add(NO_PIXEL, segment.place)
        canvas = Canvas(*picture.size, self._background_id)
        for thing, _, number in sorted(order):
            segment = segments[number]
            instance = number if thing and not segment.crowd else NO_INSTANCE
            canvas.draw(Region(0, 0, segment.mask), self._class_ids[segment.category], instance)
        notes = undrawn.notes() if picture.annotations else ["no annotation"]
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


def _items(pictures: list[Picture], folder: Path) -> Iterator[Item]:
    """Yield one item per picture.

    A missing photo gets its expected path, so that reading reports it. If none exists at all, the items have none.
    """
    maps = {
        path.with_suffix("") for picture in pictures for path, each in picture.annotations if "segments_info" in each
    }
    files = ForeignFiles(folder, without=maps)
    found = find_photos(files, [Wanted(picture.text, picture.where, picture.split) for picture in pictures])
    some = any(each.match for each in found)
    for picture, each in zip(pictures, found, strict=True):
        if each.problem:
            raise each.problem
        name, expected = item_name(picture.text, each.match), folder.joinpath(*foreign_path(picture.text).parts)
        yield Item(
            name,
            picture.split,
            name,
            each.match.path if each.match else expected if some else None,
            tuple(picture.files),
            picture,
            inputs=tuple(_panoptic_pictures(picture)),
            wanted="" if each.match else picture.text,
            notes=(*each.notes, *picture.notes),
        )


def _panoptic_pictures(picture: Picture) -> Iterator[Path]:
    for path, annotation in picture.annotations:
        if "segments_info" in annotation and isinstance(annotation.get("file_name"), str):
            yield panoptic_picture(path, annotation, str(path))


def _segments(path: Path, annotation: Mapping[str, Any], size: tuple[int, int], undrawn: Undrawn) -> Iterator[_Segment]:
    """Yield the segments of one entry of `annotations`: one object, or all of a panoptic picture."""
    place = f"annotation {annotation.get('id', annotation.get('image_id'))}"
    where = f"{path}: {place}"
    if "segments_info" not in annotation:
        category, crowd = field(annotation, "category_id", int, where), flag(annotation, "iscrowd", False, where)
        if (mask := _mask(annotation, *size, where, undrawn, place)) is not None:
            yield _Segment(category, crowd, mask, where, place)
        return
    picture, folder = panoptic_picture(path, annotation, where), path.with_suffix("")
    if not folder.is_dir():
        hint = f"; unpack {folder}.zip" if folder.with_suffix(".zip").is_file() else ""
        raise UserError(f"no such folder; it must contain the panoptic PNGs of {path.name}{hint}", path=folder)
    ids = read_instance(picture)
    check_same_size(ids.shape, size, str(picture), path)
    known: dict[int, str] = {0: ""}
    for index, segment in enumerate(field(annotation, "segments_info", list, where)):
        number = field(segment, "id", int, f"{where}: segments_info[{index}]")
        here = f"{where}: segment {number}"
        claim(known, number, f"{where}: segments_info[{index}]", "id")
        crowd = flag(segment, "iscrowd", False, here)
        yield _Segment(field(segment, "category_id", int, here), crowd, ids == number, here, f"segment {number}")
    translate(ids, dict.fromkeys(known, 0), str(picture), f"ids missing in {path.name}")


def _mask(
    annotation: Mapping[str, Any], height: int, width: int, where: str, undrawn: Undrawn, place: str
) -> Mask | None:
    """Decode a `segmentation`, polygons or RLE, into an (H, W) mask; without an outline, note it and return None."""
    shape = annotation.get("segmentation")
    if not shape or (isinstance(shape, Mapping) and not shape.get("counts", True)):
        undrawn.add("no outline", place)
        return None
    if isinstance(shape, Mapping):
        size = field(shape, "size", list, where)
        if [whole_number(side) for side in size] != [height, width]:
            raise UserError(f"{where}: mask size {abridged(size)} differs from picture size {[height, width]} (H, W)")
        return decode(shape.get("counts"), height, width, where)
    if not isinstance(shape, list):
        raise UserError(f"{where}: segmentation is neither polygons nor a run-length code: {abridged(shape)}")
    flat = all(isinstance(number, int | float) for number in shape)  # one polygon that is not in a list
    outlines = [
        points for part in ([shape] if flat else shape) if undrawn.outline(points := to_points(part, where), place)
    ]
    mask = np.zeros((height, width), np.bool_)
    for points in outlines:
        region = polygon(points, height, width)
        rows, columns = region.mask.shape
        mask[region.top : region.top + rows, region.left : region.left + columns] |= region.mask
    return mask if outlines else None
