"""LabelMe: json files beside the photos, with polygons, rectangles, circles, lines, points and masks; also the old xml.

Later shapes cover earlier ones. Shapes of one class and one group_id are one instance. The class `__ignore__` is
ignored, and `_background_` is what no shape covers.
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
from hdtrans.prepare.formats.labelme_xml import as_json
from hdtrans.prepare.sources.documents import Points, field, read_json, read_lines, shown, size_of, to_points
from hdtrans.prepare.sources.places import Listed, arranged, files_under, given, split_of, there
from hdtrans.prepare.sources.shapes import Canvas, Mask, Region, box, ellipse, empty_note, pasted, polygon, stroke
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import add_background, class_table, outside, with_background

HELP = "LabelMe: json files of every shape beside the photos"

_BACKGROUND, _IGNORED = "_background_", "__ignore__"
_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1, "points": 1, "mask": 2}
_WIDEST_LINE = 1000
_POINT_WIDTH = 10.0  # LabelMe's own


def add_options(parser: ArgumentParser) -> None:
    """Add what LabelMe alone is asked."""
    parser.add_argument(
        "--classes", metavar="FILE", help="a class a line (default: labels.txt, or else all that the json files have)"
    )
    parser.add_argument(
        "--line-width", type=float, default=10.0, metavar="PIXELS", help="of lines and line strips (default: 10)"
    )
    add_background(parser)


def open_source(root: Path, options: Namespace) -> "Labelme":
    """Find the json files and the list of classes."""
    if not 0 < options.line_width <= _WIDEST_LINE:
        raise UserError(f"--line-width: got {options.line_width:g}; give more than 0 and at most {_WIDEST_LINE} pixels")
    files = files_under(root, (".json",)) or files_under(root, (".xml",))
    if not files:
        raise UserError(f"{root}: has no json and no xml file of LabelMe. {there(root)}")
    background, listed = options.background, root / "labels.txt"
    items, found = [], set()
    for path in files:
        item, names_of_item = _scan(root, path)
        items.append(item)
        found |= names_of_item
    if options.classes or listed.is_file():
        names = read_lines(given(root, options.classes) if options.classes else listed)
        if background is None and _BACKGROUND in names:
            background = _BACKGROUND
    else:
        names = sorted(found, key=natural)
    names = with_background([name for name in names if name != _IGNORED], background)
    if not names:
        raise UserError(items[0].detail or f"{root}: no class in any of {len(files)} files, {files[0]} the first")
    return Labelme(arranged(items, root), names, background, options.line_width)


@dataclass(frozen=True)
class _Shape:
    name: str
    group: int | None
    kind: str
    points: Points
    mask: Any
    where: str


class Labelme(Listed):
    """LabelMe's json or xml files, each with the photo that it names."""

    def __init__(self, items: list[Item], names: list[str], background: str | None, line_width: float) -> None:
        self.classes = class_table(names)
        self._outside = outside(self.classes, background)
        self._places = {name: place for place, name in enumerate(names)} | {_IGNORED: outside(self.classes, None)}
        self._line_width = line_width
        self._items = items

    def read(self, item: Item) -> Maps:
        """Draw the shapes of a picture."""
        (path,) = item.annotations
        if item.detail:
            raise UserError(item.detail)
        values = _document(path)
        canvas = Canvas(*_size(path, values, item.photo), self._outside)
        numbers: dict[tuple[str, int | None], int] = {}
        empty = []
        for place, shape in enumerate(_shapes(path, values)):
            if shape.name not in self._places:
                raise UserError(
                    f"{shape.where}: its class {shape.name!r} is not in the list of classes."
                    f"{nearest(shape.name, self._places)}"
                )
            key = (shape.name, shape.group) if shape.group is not None else ("", place)
            number = UNCOUNTED if shape.name == _IGNORED else numbers.setdefault(key, place)
            regions = _regions(shape, self._line_width, *canvas.label.shape)
            covers = [canvas.draw(region, self._places[shape.name], number) for region in regions]
            if not any(covers):
                empty.append(f"shape {place} ({shape.name})")
        return Maps(canvas.label, canvas.instance, tuple(empty_note(empty)))


def _document(path: Path) -> Any:
    return as_json(path) if path.suffix.lower() == ".xml" else read_json(path)


def _scan(root: Path, path: Path) -> tuple[Item, set[str]]:
    """Return the item of a file, with what is wrong with the file as its detail, and the classes in it."""
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
    """Return (height, width) of the picture; files of old versions leave it to the photo."""
    if photo is not None and values.get("imageHeight") is None:
        header = probe(photo)
        return header.height, header.width
    return size_of(values, str(path), "imageHeight", "imageWidth")


def _shapes(path: Path, values: object) -> Iterator[_Shape]:
    for place, shape in enumerate(field(values, "shapes", list, str(path))):
        where = f"{path}: shape {place}"
        name, kind = field(shape, "label", str, where), str(shape.get("shape_type") or "polygon")
        if not name.strip():
            raise UserError(f"{where}: has an empty label")
        if kind not in _POINTS:
            raise UserError(f"{where} ({name}): there is no shape {kind!r}; known are {', '.join(_POINTS)}")
        where = f"{path}: shape {place} ({name}, {kind})"
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
        return [pasted(_mask(shape), left, top, height, width)]
    if shape.kind in ("point", "points"):
        return [region for point in points for region in stroke(point[None], _POINT_WIDTH, height, width)]
    return stroke(points, line_width, height, width)


def _mask(shape: _Shape) -> Mask:
    """Return the mask of a shape: a PNG in base64."""
    try:
        data = base64.b64decode(shape.mask or "", validate=True)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except (binascii.Error, TypeError, ValueError, cv2.error) as error:
        raise UserError(f"{shape.where}: its mask is no PNG in base64: {error}") from error
    if picture is None:
        raise UserError(f"{shape.where}: its mask is no PNG in base64: {shown(shape.mask)}")
    return np.asarray(picture > 0)
