"""LabelMe: JSON files beside the photos, or the XML files of its first version.

Shapes are polygons, rectangles, circles, lines, points and masks; later ones cover earlier ones. Shapes with the same
class and group_id form one instance. `__ignore__` marks ignored pixels, `_background_` pixels without a shape.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.errors import Advice, UserError, nearest
from hdtrans.data.pairing import natural
from hdtrans.prepare.sources.class_names import clean_name, space_notes
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    add_photo_dir,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import (
    Points,
    field,
    identifier,
    read_json,
    read_lines,
    size_of,
    to_points,
)
from hdtrans.prepare.sources.embedded import embedded_mask, embedded_photo
from hdtrans.prepare.sources.foreign_paths import ForeignFiles, Found, Wanted, find_photos, foreign_path
from hdtrans.prepare.sources.labelme_xml import xml_as_json
from hdtrans.prepare.sources.shapes import NO_PIXEL, Canvas, Region, Undrawn, box, ellipse, paste, polygon, stroke
from hdtrans.prepare.sources.source import NO_INSTANCE, EmbeddedPhoto, Item, Maps
from hdtrans.prepare.sources.tables import add_background, background_id, class_table, with_background
from hdtrans.prepare.writing.pictures import load_photo

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
    add_photo_dir(parser)
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
    scans = [_scan_file(path) for path in files]
    items = _items(root, scans, root / options.photo_dir if options.photo_dir else None)
    if options.classes or listed.is_file():
        names = read_lines(option_path(root, options.classes) if options.classes else listed)
        if background is None and _BACKGROUND in names:
            background = _BACKGROUND
    else:
        names = sorted({clean_name(name) for scan in scans for name in scan.names}, key=natural)
    names = with_background([name for name in names if name != _IGNORED], background)
    if not names:
        raise scans[0].problem or UserError(f"{root}: no class in any of {len(files)} file(s), first {files[0]}")
    notes = space_notes(sorted({name for scan in scans for name in scan.names}))
    return Labelme(sorted_items(items, root), names, background, options.line_width, notes)


@dataclass(frozen=True)
class _Scan:
    """First look at a file: its photo's path, class names as written, mask files, and the error, if any."""

    path: Path
    photo: str = ""
    embedded: bool = False
    names: frozenset[str] = frozenset()
    masks: tuple[Path, ...] = ()
    problem: UserError | None = None


@dataclass(frozen=True)
class _Shape:
    name: str
    written: str
    group: int | str | None
    kind: str
    points: Points
    mask: Any
    where: str
    place: str


class Labelme(ListedSource):
    """LabelMe JSON or XML files, each with its photo; `Item.detail` is the file's error, if any."""

    def __init__(
        self, items: list[Item], names: list[str], background: str | None, line_width: float, notes: Sequence[str]
    ) -> None:
        self.classes = class_table(names)
        self._background_id = background_id(self.classes, background)
        self._class_ids = {name: index for index, name in enumerate(names)} | {
            _IGNORED: background_id(self.classes, None)
        }
        self._line_width = line_width
        self.notes = tuple(notes)
        self._items = items

    def read(self, item: Item) -> Maps:
        """Draw an item's shapes."""
        (path,) = item.annotations
        if item.detail:
            raise item.detail
        values = _document(path)
        photo = embedded_photo(values["imageData"], f"{path}: imageData") if item.photo is None else None
        canvas = Canvas(*_size(path, values, item.photo or photo), self._background_id)
        numbers: dict[tuple[str, int | str | None], int] = {}
        undrawn = Undrawn()
        for index, shape in enumerate(_shapes(path, values)):
            if shape.kind not in _POINTS:
                undrawn.add(f"the type {shape.kind!r}", shape.place)
                continue
            if shape.name not in self._class_ids:
                raise UserError(
                    f"{shape.where}: the class {shape.name!r} is not in the class list."
                    f"{nearest(shape.name, self._class_ids)}"
                )
            if not undrawn.outline(shape.points, shape.place, _POINTS[shape.kind]):
                continue
            key = (shape.name, shape.group) if shape.group is not None else ("", index)
            number = NO_INSTANCE if shape.name == _IGNORED else numbers.setdefault(key, index)
            regions = _regions(shape, self._line_width, *canvas.label.shape)
            covers = [canvas.draw(region, self._class_ids[shape.name], number) for region in regions]
            if not any(covers):
                undrawn.add(NO_PIXEL, shape.place)
        return Maps(canvas.label, canvas.instance, tuple(undrawn.notes()), photo)


def _document(path: Path) -> Any:
    return xml_as_json(path) if path.suffix.lower() == ".xml" else read_json(path)


def _scan_file(path: Path) -> _Scan:
    """Read a file's photo path, class names and mask files; an unreadable file has its error as `problem`."""
    try:
        values = _document(path)
        embedded = isinstance(values, dict) and bool(values.get("imageData"))
        photo = "" if embedded and not values.get("imagePath") else field(values, "imagePath", str, str(path))
        if not embedded and not foreign_path(photo).parts:
            raise UserError(f"imagePath {photo!r}: names no file, and there is no imageData", path=path)
        names = frozenset(shape.written for shape in _shapes(path, values))
        return _Scan(path, photo, embedded, names, tuple(values.get("masks", ())))
    except UserError as error:
        return _Scan(path, problem=error.with_traceback(None))


def _items(root: Path, scans: Sequence[_Scan], photos: Path | None) -> list[Item]:
    """Return one item per file.

    Its photo is the file that `imagePath` names, or else `imageData`; LabelMe itself takes `imageData` first, but the
    file is never older than its copy.
    """
    files = ForeignFiles(photos or root)
    wanted = []
    for scan in scans:
        start = scan.path.parent.relative_to(root).parts
        split = split_of(*start)
        wanted.append(Wanted(scan.photo, str(scan.path), split, None if photos else start))
    items = []
    for scan, each, found in zip(scans, wanted, find_photos(files, wanted), strict=True):
        photo, problem, notes = found.match.path if found.match else None, scan.problem, found.notes
        if scan.embedded and photo is None:
            notes = (f"photo taken from imageData, as there is no file: {scan.photo!r}",)
        elif photo is None and problem is None:
            photo, problem = _missing_photo(root, scan, found)
        name = scan.path.relative_to(root).with_suffix("").as_posix()
        items.append(Item(name, each.split, name, photo, (scan.path,), problem, scan.masks, notes=notes))
    return items


def _missing_photo(root: Path, scan: _Scan, found: Found) -> tuple[Path | None, UserError | None]:
    """Return the path of a photo outside of `root`, the expected one of a missing photo, or an error."""
    expected = Path(os.path.normpath(scan.path.parent / scan.photo.replace("\\", "/")))
    if expected.is_file() or (not found.problem and expected.is_relative_to(root)):
        return expected, None
    if found.problem:
        return None, found.problem
    finding = f"imagePath {scan.photo!r}: is outside of {root}, and there is no such photo"
    return None, UserError(finding, path=scan.path, advice=[Advice("photo_dir", "DIR")])


def _size(path: Path, values: dict[str, Any], photo: Path | EmbeddedPhoto | None) -> tuple[int, int]:
    """Return (height, width) in pixels; taken from the photo where an old file lacks it."""
    if photo is not None and values.get("imageHeight") is None:
        _, header = load_photo(photo)
        return header.height, header.width
    return size_of(values, str(path), "imageHeight", "imageWidth")


def _shapes(path: Path, values: object) -> Iterator[_Shape]:
    for index, shape in enumerate(field(values, "shapes", list, str(path))):
        where = f"{path}: shape {index}"
        written, kind = field(shape, "label", str, where), str(shape.get("shape_type") or "polygon")
        if not (name := clean_name(written)):
            raise UserError(f"{where}: has an empty label")
        place = f"shape {index} ({name}, {kind})"
        where = f"{path}: {place}"
        points = to_points(field(shape, "points", list, where), where)
        yield _Shape(name, written, identifier(shape.get("group_id")), kind, points, shape.get("mask"), where, place)


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
        return [paste(embedded_mask(shape.mask, shape.where), left, top, height, width)]
    if shape.kind in ("point", "points"):
        return [region for point in points for region in stroke(point[None], _POINT_WIDTH, height, width)]
    return stroke(points, line_width, height, width)
