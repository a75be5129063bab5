"""CVAT for images 1.1: polygons, boxes, ellipses and masks from an XML file, drawn by z_order.

Shapes with the same class and group_id form one instance. Lines, points, cuboids and skeletons have no area and are
reported.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from hdtrans.common.classes import Colour
from hdtrans.common.errors import UserError, nearest
from hdtrans.prepare.sources.class_names import clean_name, space_notes
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    add_photo_dir,
    files_under,
    listing,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import Points, abridged, claim, read_xml, size_of, to_points, whole_number
from hdtrans.prepare.sources.foreign_paths import ForeignFiles, Wanted, find_photos, foreign_path, item_name
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import NO_PIXEL, Canvas, Region, Undrawn, ellipse, paste, polygon, rotate
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import add_background, background_id, class_table, parse_colour

HELP = "CVAT for images 1.1: annotations.xml and images/"
NEEDS_PHOTOS = True

_DRAWN = ("polygon", "box", "ellipse", "mask")
_NOT_SHAPES = ("tag",)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    add_photo_dir(parser)
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Cvat":
    """Read the XML files."""
    documents = {path: tree for path in files_under(root, (".xml",)) if (tree := read_xml(path)).tag == "annotations"}
    if not documents:
        raise UserError(f"{root}: contains no CVAT XML file (<annotations>). {listing(root)}")
    images = root / "images" if (root / "images").is_dir() else root
    return Cvat(root, documents, root / options.photo_dir if options.photo_dir else images, options.background)


class Cvat(ListedSource):
    """Pictures of CVAT XML files; classes are the tasks' labels, `Item.detail` is the <image> element."""

    def __init__(self, root: Path, documents: dict[Path, Element], photos: Path, background: str | None) -> None:
        labels: dict[str, Colour | None] = {background: None} if background is not None else {}
        names: list[str] = []
        for tree in documents.values():
            for label in tree.iter("label"):
                if label.find("name") is not None and label.findtext("type") != "tag":
                    names.append(label.findtext("name") or "")
                    labels.setdefault(clean_name(names[-1]), parse_colour(label.findtext("color")))
        if not labels:
            raise UserError(f"{next(iter(documents))}: has no labels in <meta>; export it again from CVAT")
        self.classes = class_table(list(labels), list(labels.values()))
        self._background_id = background_id(self.classes, background)
        self._class_ids = {name: index for index, name in enumerate(labels)}
        self.notes = tuple(space_notes(names))
        self.shared = frozenset(documents)
        self._items = sorted_items(_items(documents, photos), root)

    def part(self, item: Item) -> object:
        """Return an item's <image> element."""
        return ElementTree.tostring(item.detail, "unicode")

    def read(self, item: Item) -> Maps:
        """Draw an item's shapes."""
        (path,), image = item.annotations, item.detail
        where = f"{path}: image {image.get('name')!r}"
        canvas = Canvas(*_size(image, where), self._background_id)
        shapes = [(index, shape) for index, shape in enumerate(image) if shape.tag in _DRAWN]
        numbers: dict[tuple[str, str | None], int] = {}
        undrawn = Undrawn()
        for index, shape in enumerate(image):
            if shape.tag not in (*_DRAWN, *_NOT_SHAPES):
                undrawn.add("no area", f"shape {index} ({shape.tag})")
        for index, shape in sorted(shapes, key=lambda entry: _integer(entry[1], "z_order", where, 0)):
            name, place = clean_name(shape.get("label", "")), f"shape {index} ({shape.tag})"
            here = f"{where}: {place}"
            if name not in self._class_ids:
                raise UserError(f"{here}: the label {name!r} is not defined in <meta>.{nearest(name, self._class_ids)}")
            region = _region(shape, here, *canvas.label.shape, undrawn, place)
            key = (name, shape.get("group_id")) if shape.get("group_id") else ("", str(index))
            number = numbers.setdefault(key, index)
            if region is not None and not canvas.draw(region, self._class_ids[name], number):
                undrawn.add(NO_PIXEL, place)
        return Maps(canvas.label, canvas.instance, tuple(undrawn.notes()))


def _items(documents: dict[Path, Element], folder: Path) -> Iterator[Item]:
    files = ForeignFiles(folder, by_stem=True)
    wanted: list[Wanted] = []
    images: list[tuple[Path, Element]] = []
    names: dict[str, str] = {}
    for path, tree in documents.items():
        if tree.find("track") is not None:
            raise UserError(
                "has tracks, as 'CVAT for video' exports have; export it as 'CVAT for images 1.1'", path=path
            )
        for index, image in enumerate(tree.findall("image")):
            where, name, subset = f"{path}: image {index}", image.get("name") or "", image.get("subset") or ""
            if not foreign_path(name).parts:
                raise UserError(f"{where}: has no name")
            if subset and files.has(f"{subset}/{name}"):  # project exports have one folder per subset
                name = f"{subset}/{name}"
            split = split_of(subset, *foreign_path(name).parts[:-1], path.stem)
            claim(names, f"{split or 'train'}/{foreign_path(name).stem}", where, "name")
            wanted.append(Wanted(name, where, split))
            images.append((path, image))
    found = find_photos(files, wanted)
    some = any(each.match for each in found)
    for each, (path, image), photo in zip(wanted, images, found, strict=True):
        if photo.problem:
            raise photo.problem
        stem = item_name(each.text, photo.match)
        place = photo.match.path if photo.match else folder.joinpath(*foreign_path(each.text).parts) if some else None
        unfound = "" if photo.match else each.text
        yield Item(stem, each.split, stem, place, (path,), image, wanted=unfound, notes=photo.notes)


def _region(shape: Element, where: str, height: int, width: int, undrawn: Undrawn, place: str) -> Region | None:
    """Return a shape's pixels, or None if it has no area."""
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
        points = to_points(pairs, where)
        return polygon(points, height, width) if undrawn.outline(points, place) else None
    if shape.tag == "ellipse":
        centre, radii = _numbers(shape, ("cx", "cy"), where), _numbers(shape, ("rx", "ry"), where)
        return polygon(ellipse(centre, radii, _degrees(shape, where)), height, width)
    if shape.tag == "mask":
        left, top = _integer(shape, "left", where), _integer(shape, "top", where)
        rows, columns = _size(shape, where)
        runs = [whole_number(run) for run in shape.get("rle", "").split(",")]
        if None in runs:
            raise UserError(f"{where}: rle is no list of integers: {abridged(shape.get('rle'))}")
        return paste(decode(runs, rows, columns, where, by_columns=False), left, top, height, width)
    (left_edge, top_edge), (right, bottom) = (
        _numbers(shape, ("xtl", "ytl"), where),
        _numbers(shape, ("xbr", "ybr"), where),
    )
    corners = np.array([[left_edge, top_edge], [right, top_edge], [right, bottom], [left_edge, bottom]])
    return polygon(rotate(corners, corners.mean(axis=0), _degrees(shape, where)), height, width)


def _numbers(shape: Element, keys: tuple[str, str], where: str) -> Points:
    """Return two attributes as a point (x, y)."""
    if missing := [key for key in keys if key not in shape.attrib]:
        raise UserError(f"{where}: attribute {missing[0]!r} is missing")
    return to_points([shape.attrib[key] for key in keys], where)[0]


def _degrees(shape: Element, where: str) -> float:
    return float(to_points([shape.get("rotation", "0"), 0], where)[0, 0])


def _size(element: Element, where: str) -> tuple[int, int]:
    return size_of({key: _integer(element, key, where) for key in ("height", "width")}, where)


def _integer(element: Element, key: str, where: str, default: int | None = None) -> int:
    text = element.get(key, None if default is None else str(default))
    if (number := whole_number(text)) is None:
        raise UserError(f"{where}: attribute {key!r} of <{element.tag}> is no integer: {abridged(text)}")
    return number
