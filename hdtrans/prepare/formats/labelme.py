"""LabelMe: JSON files beside the photos, or the XML files of its first version.

Shapes are polygons, rectangles, circles, lines, points and masks; later ones cover earlier ones. Shapes with the same
class and group_id form one instance. `__ignore__` marks ignored pixels, `_background_` pixels without a shape.
"""

import base64
import binascii
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.header import probe
from hdtrans.data.pairing import natural
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import Points, abridged, field, read_json, read_lines, size_of, to_points
from hdtrans.prepare.sources.labelme_xml import xml_as_json
from hdtrans.prepare.sources.shapes import Canvas, Mask, Region, box, ellipse, empty_note, paste, polygon, stroke
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import add_background, background_id, class_table, with_background

HELP = "LabelMe: JSON (or old XML) files beside the photos, all shape types"
NEEDS_PHOTOS = True

_BACKGROUND, _IGNORED = "_background_", "__ignore__"
_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1, "points": 1, "mask": 2}
_WIDEST_LINE = 1000
_POINT_WIDTH = 10.0  # pixels, as LabelMe draws points


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="class list, one name per line (default: labels.txt if present, else all classes in the annotations)",
    )
    parser.add_argument(
        "--line-width",
        type=float,
        default=10.0,
        metavar="PIXELS",
        help=f"width of lines and line strips in pixels, up to {_WIDEST_LINE} (default: 10)",
    )
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Labelme":
    """Index the annotation files and read the class list."""
    if not 0 < options.line_width <= _WIDEST_LINE:
        finding = f"give more than 0 and at most {_WIDEST_LINE} pixels"
        raise UserError(finding, argument="line_width", value=f"{options.line_width:g}")
    files = files_under(root, (".json",)) or files_under(root, (".xml",))
    if not files:
        raise UserError(f"{root}: contains no LabelMe JSON or XML file. {listing(root)}")
    background, listed = options.background, root / "labels.txt"
    items, found = [], set()
    for path in files:
        item, names_of_item = _scan_file(root, path)
        items.append(item)
        found |= names_of_item
    if options.classes or listed.is_file():
        names = read_lines(option_path(root, options.classes) if options.classes else listed)
        if background is None and _BACKGROUND in names:
            background = _BACKGROUND
    else:
        names = sorted(found, key=natural)
    names = with_background([name for name in names if name != _IGNORED], background)
    if not names:
        raise UserError(items[0].detail or f"{root}: no class in any of {len(files)} file(s), first {files[0]}")
    return Labelme(sorted_items(items, root), names, background, options.line_width)


@dataclass(frozen=True)
class _Shape:
    name: str
    group: int | None
    kind: str
    points: Points
    mask: Any
    where: str


class Labelme(ListedSource):
    """LabelMe JSON or XML files, each with its `imagePath` as photo; `Item.detail` is the file's error, if any."""

    def __init__(self, items: list[Item], names: list[str], background: str | None, line_width: float) -> None:
        self.classes = class_table(names)
        self._background_id = background_id(self.classes, background)
        self._class_ids = {name: index for index, name in enumerate(names)} | {
            _IGNORED: background_id(self.classes, None)
        }
        self._line_width = line_width
        self._items = items

    def read(self, item: Item) -> Maps:
        """Draw an item's shapes."""
        (path,) = item.annotations
        if item.detail:
            raise UserError(item.detail)
        values = _document(path)
        canvas = Canvas(*_size(path, values, item.photo), self._background_id)
        numbers: dict[tuple[str, int | None], int] = {}
        empty = []
        for index, shape in enumerate(_shapes(path, values)):
            if shape.name not in self._class_ids:
                raise UserError(
                    f"{shape.where}: the class {shape.name!r} is not in the class list."
                    f"{nearest(shape.name, self._class_ids)}"
                )
            key = (shape.name, shape.group) if shape.group is not None else ("", index)
            number = NO_INSTANCE if shape.name == _IGNORED else numbers.setdefault(key, index)
            regions = _regions(shape, self._line_width, *canvas.label.shape)
            covers = [canvas.draw(region, self._class_ids[shape.name], number) for region in regions]
            if not any(covers):
                empty.append(f"shape {index} ({shape.name})")
        return Maps(canvas.label, canvas.instance, tuple(empty_note(empty)))


def _document(path: Path) -> Any:
    return xml_as_json(path) if path.suffix.lower() == ".xml" else read_json(path)


def _scan_file(root: Path, path: Path) -> tuple[Item, set[str]]:
    """Return a file's item, with the error text as `detail` if it cannot be read, and its class names."""
    relative = path.relative_to(root).with_suffix("")
    name, photo, problem, names = relative.as_posix(), None, None, set()
    try:
        values = _document(path)
        named = field(values, "imagePath", str, str(path)).replace("\\", "/")
        photo = Path(os.path.normpath(path.parent / named))
        names = {shape.name for shape in _shapes(path, values)}
    except UserError as error:
        problem = str(error)
    return Item(name, split_of(*relative.parts[:-1]), name, photo, (path,), problem), names


def _size(path: Path, values: dict[str, Any], photo: Path | None) -> tuple[int, int]:
    """Return (height, width) in pixels; taken from the photo where an old file lacks it."""
    if photo is not None and values.get("imageHeight") is None:
        header = probe(photo)
        return header.height, header.width
    return size_of(values, str(path), "imageHeight", "imageWidth")


def _shapes(path: Path, values: object) -> Iterator[_Shape]:
    for index, shape in enumerate(field(values, "shapes", list, str(path))):
        where = f"{path}: shape {index}"
        name, kind = field(shape, "label", str, where), str(shape.get("shape_type") or "polygon")
        if not name.strip():
            raise UserError(f"{where}: has an empty label")
        if kind not in _POINTS:
            raise UserError(f"{where} ({name}): unknown shape_type {kind!r}; known are {', '.join(_POINTS)}")
        where = f"{path}: shape {index} ({name}, {kind})"
        points = to_points(field(shape, "points", list, where), _POINTS[kind], where)
        group = shape.get("group_id")
        yield _Shape(name, group if isinstance(group, int) else None, kind, points, shape.get("mask"), where)


def _regions(shape: _Shape, line_width: float, height: int, width: int) -> list[Region]:
    points = shape.points
    if shape.kind == "polygon":
        return [polygon(points, height, width)]
    if shape.kind == "rectangle":
        return [box(points, height, width)]
    if shape.kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return [polygon(ellipse(points[0], np.array([radius, radius])), height, width)]
    if shape.kind == "mask":
        left, top = points.min(axis=0).astype(int).tolist()
        return [paste(_mask(shape), left, top, height, width)]
    if shape.kind in ("point", "points"):
        return [region for point in points for region in stroke(point[None], _POINT_WIDTH, height, width)]
    return stroke(points, line_width, height, width)


def _mask(shape: _Shape) -> Mask:
    """Decode the mask of a shape, a base64 PNG."""
    try:
        data = base64.b64decode(shape.mask or "", validate=True)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except (binascii.Error, TypeError, ValueError, cv2.error) as error:
        raise UserError(f"{shape.where}: mask is no base64 PNG: {error}") from error
    if picture is None:
        raise UserError(f"{shape.where}: mask is no base64 PNG: {abridged(shape.mask)}")
    return np.asarray(picture > 0)
