"""CVAT for images 1.1: polygons, boxes, ellipses and masks from an XML file, drawn by z_order.

Shapes with the same class and group_id form one instance. Lines, points, cuboids and skeletons have no area and are
reported.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from hdtrans.common.classes import Colour
from hdtrans.common.errors import UserError, nearest
from hdtrans.prepare.sources.dataset_files import ListedSource, PhotoIndex, files_under, listing, sorted_items, split_of
from hdtrans.prepare.sources.documents import Points, abridged, read_xml, size_of, to_points
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import Canvas, Region, ellipse, empty_note, paste, polygon, rotate
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import add_background, background_id, class_table, parse_colour

HELP = "CVAT for images 1.1: annotations.xml and images/"
NEEDS_PHOTOS = True

_DRAWN = ("polygon", "box", "ellipse", "mask")
_NOT_SHAPES = ("tag",)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Cvat":
    """Read the XML files."""
    documents = {path: tree for path in files_under(root, (".xml",)) if (tree := read_xml(path)).tag == "annotations"}
    if not documents:
        raise UserError(f"{root}: contains no CVAT XML file (<annotations>). {listing(root)}")
    return Cvat(root, documents, options.background)


class Cvat(ListedSource):
    """Pictures of CVAT XML files; classes are the tasks' labels, `Item.detail` is the <image> element."""

    def __init__(self, root: Path, documents: dict[Path, Element], background: str | None) -> None:
        labels: dict[str, Colour | None] = {background: None} if background is not None else {}
        for tree in documents.values():
            for label in tree.iter("label"):
                if label.find("name") is not None and label.findtext("type") != "tag":
                    labels.setdefault(label.findtext("name") or "", parse_colour(label.findtext("color")))
        if not labels:
            raise UserError(f"{next(iter(documents))}: has no labels in <meta>; export it again from CVAT")
        self.classes = class_table(list(labels), list(labels.values()))
        self._background_id = background_id(self.classes, background)
        self._class_ids = {name: index for index, name in enumerate(labels)}
        photos = PhotoIndex(root / "images" if (root / "images").is_dir() else root)
        self._items = sorted_items((i for path, tree in documents.items() for i in _items(path, tree, photos)), root)

    def read(self, item: Item) -> Maps:
        """Draw an item's shapes."""
        (path,), image = item.annotations, item.detail
        where = f"{path}: image {image.get('name')!r}"
        canvas = Canvas(*_size(image, where), self._background_id)
        shapes = [(index, shape) for index, shape in enumerate(image) if shape.tag in _DRAWN]
        numbers: dict[tuple[str, str | None], int] = {}
        others = Counter(shape.tag for shape in image if shape.tag not in (*_DRAWN, *_NOT_SHAPES))
        skipped = ", ".join(f"{count} {tag}" for tag, count in sorted(others.items()))
        notes, empty = [f"shapes without area are not drawn: {skipped}"] if skipped else [], []
        for index, shape in sorted(shapes, key=lambda entry: _integer(entry[1], "z_order", where, 0)):
            name = shape.get("label", "")
            here = f"{where}: shape {index} ({shape.tag})"
            if name not in self._class_ids:
                raise UserError(f"{here}: the label {name!r} is not defined in <meta>.{nearest(name, self._class_ids)}")
            key = (name, shape.get("group_id")) if shape.get("group_id") else ("", str(index))
            number = numbers.setdefault(key, index)
            if not canvas.draw(_region(shape, here, *canvas.label.shape), self._class_ids[name], number):
                empty.append(f"shape {index} ({shape.tag})")
        return Maps(canvas.label, canvas.instance, (*notes, *empty_note(empty)))


def _items(path: Path, tree: Element, photos: PhotoIndex) -> list[Item]:
    if tree.find("track") is not None:
        raise UserError("has tracks, as 'CVAT for video' exports have; export it as 'CVAT for images 1.1'", path=path)
    items = []
    for index, image in enumerate(tree.findall("image")):
        name, subset = image.get("name"), image.get("subset") or ""
        if not name:
            raise UserError(f"image {index}: has no name", path=path)
        stem = Path(name.replace("\\", "/")).with_suffix("").as_posix()
        if f"{subset}/{stem}" in photos.paths:  # project exports have one folder per subset
            stem = f"{subset}/{stem}"
        split = split_of(subset, *Path(stem).parts[:-1], path.stem)
        items.append(Item(stem, split, stem, photos.find(stem), (path,), image))
    return items


def _region(shape: Element, where: str, height: int, width: int) -> Region:
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        return polygon(to_points(pairs, 3, where), height, width)
    if shape.tag == "ellipse":
        centre, radii = _numbers(shape, ("cx", "cy"), where), _numbers(shape, ("rx", "ry"), where)
        return polygon(ellipse(centre, radii, _degrees(shape, where)), height, width)
    if shape.tag == "mask":
        left, top = _integer(shape, "left", where), _integer(shape, "top", where)
        rows, columns = _size(shape, where)
        try:
            runs = [int(run) for run in shape.get("rle", "").split(",")]
        except ValueError as error:
            raise UserError(f"{where}: rle is no list of integers: {abridged(shape.get('rle'))}") from error
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
    return to_points([shape.attrib[key] for key in keys], 1, where)[0]


def _degrees(shape: Element, where: str) -> float:
    return float(to_points([shape.get("rotation", "0"), 0], 1, where)[0, 0])


def _size(element: Element, where: str) -> tuple[int, int]:
    return size_of({key: _integer(element, key, where) for key in ("height", "width")}, where)


def _integer(element: Element, key: str, where: str, default: int | None = None) -> int:
    text = element.get(key, None if default is None else str(default))
    try:
        return int(text or "")
    except ValueError as error:
        raise UserError(f"{where}: attribute {key!r} of <{element.tag}> is no integer: {abridged(text)}") from error
